"""Readers of embeddings: what is planted is found, what is not is not, and what is too little is left out by name."""

import numpy as np
import pytest

from dhmd.analysis.projections import embedding_rows, projection
from dhmd.analysis.representation import ACCURACY, R2, probes, videos
from dhmd.batch import MODALITIES

N = 80
IDS = [f"v{i // 8}$_${i % 8}" for i in range(N)]


@pytest.fixture(scope="module")
def planted():
    """Homogeneous: the label in language alone, modalities alike. Heterogeneous: no label, modalities apart."""
    random = np.random.default_rng(0)
    label = random.normal(size=N)
    noise = {space: {m: random.normal(size=(N, 6)) for m in MODALITIES} for space in ("homogeneous", "heterogeneous")}
    noise["homogeneous"]["language"][:, 2] += 5 * label
    for i, m in enumerate(MODALITIES):
        noise["heterogeneous"][m] += 9 * np.eye(6)[i]
    return noise, label


def test_videos_are_ids_up_to_the_last_sign():
    assert videos(["a$_$1", "a$_$b$_$2", "alone"]).tolist() == ["a", "a$_$b", "alone"]


def test_what_is_planted_is_found(planted):
    embeddings, label = planted
    rows, absent = probes(embeddings, label, "regression", IDS)
    assert absent == {}
    found = {(row["space"], row["modality"], row["target"]): row for row in rows}
    assert len(found) == len(rows) == 10
    assert found["homogeneous", "language", "label"]["value"] > 0.8
    assert found["homogeneous", "all", "label"]["value"] > 0.8
    others = [row["value"] for key, row in found.items() if key[0] == "heterogeneous" and key[2] == "label"]
    assert max(others) < 0.2
    assert found["heterogeneous", "all", "modality"]["value"] > 0.95
    assert found["homogeneous", "all", "modality"]["value"] < 0.6, "language is wider, the other two are alike"
    assert found["heterogeneous", "all", "modality"]["chance"] == pytest.approx(1 / 3)
    assert abs(found["heterogeneous", "all", "modality"]["shuffled"] - 1 / 3) < 0.15
    assert found["homogeneous", "language", "label"]["shuffled"] < 0.2
    assert {(row["target"], row["score"]) for row in rows} == {("label", R2), ("modality", ACCURACY)}
    assert {(row["groups"], row["folds"]) for row in rows} == {(10, 5)}
    assert (found["homogeneous", "all", "label"]["features"], found["homogeneous", "all", "modality"]["n"]) == (18, 3 * N)


@pytest.mark.parametrize(
    ("ids", "told", "groups"),
    [
        (IDS, "videos kept together", 10),
        ([str(i) for i in range(N)], "each sample a group of its own: ids name no video", N),
        ([*IDS[:72], *map(str, range(8))], "videos kept together; 8 of 80 ids name none, each a group of its own", 17),
    ],
)
def test_the_protocol_claims_no_videos_that_ids_do_not_name(planted, ids, told, groups):
    embeddings, label = planted
    rows, _ = probes(embeddings, label, "regression", ids)
    assert {(row["protocol"], row["groups"]) for row in rows} == {(f"out of fold within the split, {told}", groups)}


def test_it_repeats(planted):
    embeddings, label = planted
    assert probes(embeddings, label, "regression", IDS) == probes(embeddings, label, "regression", IDS)


def test_classes_are_read_by_balanced_accuracy(planted):
    embeddings, label = planted
    rows, _ = probes(embeddings, (label > 0).astype(int), "binary", IDS)
    language = next(row for row in rows if row["modality"] == "language")
    assert (language["score"], language["chance"]) == (ACCURACY, 0.5)
    assert language["value"] > 0.85


@pytest.mark.parametrize(
    ("n", "ids", "same", "reason"),
    [
        (12, IDS, False, "found 12 samples, expected 20 at least"),
        (32, IDS, False, "found 4 videos, expected 5 at least, one a fold"),
        (N, IDS, True, "all samples have the same one"),
    ],
)
def test_too_little_is_left_out_by_name(planted, n, ids, same, reason):
    embeddings, label = planted
    few = {"homogeneous": {m: x[:n] for m, x in embeddings["homogeneous"].items()}}
    rows, absent = probes(few, np.zeros(n) if same else label[:n], "regression", ids[:n])
    assert absent["probe of the label from homogeneous, language"] == reason
    assert "label" not in {row["target"] for row in rows}
    assert len(rows) + len(absent) == 5


def test_large_splits_are_drawn_from(planted, monkeypatch):
    monkeypatch.setattr("dhmd.analysis.representation.MAX_POINTS", 60)
    embeddings, label = planted
    rows, _ = probes(embeddings, label, "regression", IDS)
    assert {(row["target"], row["n"]) for row in rows} == {("label", 60), ("modality", 60)}


def test_one_modality_has_no_others_to_be_told_from(planted):
    embeddings, label = planted
    rows, absent = probes({"homogeneous": {"language": embeddings["homogeneous"]["language"]}}, label, "regression", IDS)
    assert [(row["modality"], row["target"]) for row in rows] == [("language", "label")]
    assert absent == {}


def test_components_are_those_of_the_singular_values(planted):
    embeddings, label = planted
    p = projection(embeddings["heterogeneous"])
    stacked = np.concatenate(list(embeddings["heterogeneous"].values()))
    values = np.linalg.svd(stacked - stacked.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(p.explained, values / values.sum())
    np.testing.assert_allclose((p.pca**2).sum(axis=0), values[:2])
    assert p.explained.shape == (6,)
    rows = embedding_rows({"heterogeneous": p}, IDS, label)
    assert [(row["modality"], row["id"]) for row in rows] == [(m, i) for m in MODALITIES for i in IDS]


def test_points_not_drawn_have_components_and_no_place_in_tsne(planted, monkeypatch):
    monkeypatch.setattr("dhmd.analysis.embeddings.MAX_POINTS", 30)
    embeddings, label = planted
    p = projection(embeddings["heterogeneous"])
    assert p.drawn.sum() == 30
    rows = embedding_rows({"heterogeneous": p}, IDS, label)
    drawn = [row["id"] for row in rows if row["tsne_1"] is not None]
    assert len(drawn) == 30
    assert drawn[:10] == drawn[10:20] == drawn[20:], "the same samples of every modality"
    assert all(np.isfinite(row["pca_1"]) for row in rows)


def test_one_point_and_equal_points_have_components_too():
    p = projection({"language": np.ones((10, 3)), "vision": np.ones((10, 3))})
    assert p.pca.tolist() == [[0, 0]] * 20
    assert p.explained.tolist() == [0, 0, 0]
    narrow = projection({"language": np.random.default_rng(0).normal(size=(12, 1))})
    assert narrow.pca.shape == (12, 2)
    assert (narrow.pca[:, 1] == 0).all()
