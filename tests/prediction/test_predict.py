"""Predictions of a run for files, folders and arrays."""

import csv
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

import dhmd
from dhmd.batch import MODALITIES
from dhmd.data.store.reader import Store
from dhmd.errors import DataError, UsageError
from dhmd.prediction.file import predict_file
from dhmd.prediction.scaling import Preparation
from dhmd.training.train import train

KEYS = {"language": "text", "vision": "vision", "acoustic": "audio"}
SPACES = ("homogeneous", "heterogeneous")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def store(finished):
    return Store(json.loads((finished / "data.json").read_text())["store"])


@pytest.fixture(scope="module")
def predictor(finished):
    return dhmd.load(finished)


@pytest.fixture
def arrays(store):
    return store.read("test", list(range(10)))


def column(rows, name):
    return np.array([float(row[name]) for row in rows])


def test_a_store_gives_what_the_run_recorded(finished, store, tmp_path):
    assert predict_file(finished, store.path, tmp_path / "p.csv", batch_size=4) == 24 + 10 + 10
    found, recorded = table(tmp_path / "p.csv"), table(finished / "predictions.csv")
    columns = ["id", "split", "prediction", *(f"{space}_{m}" for space in SPACES for m in MODALITIES)]
    assert list(found[0]) == columns
    for split in ("valid", "test"):
        now, then = ([row for row in rows if row["split"] == split] for rows in (found, recorded))
        assert [row["id"] for row in now] == [row["id"] for row in then]
        for name in columns[2:]:
            np.testing.assert_allclose(column(now, name), column(then, name), rtol=1e-4, atol=1e-5)


def test_pickle_folder_and_arrays_agree_and_need_no_labels(finished, predictor, arrays, store, tmp_path):
    expected = predictor.predict(**arrays).prediction[:, 0]
    content = {key: arrays[m] for m, key in KEYS.items()} | {"id": [f"s{i}" for i in range(10)]}
    (tmp_path / "one.pkl").write_bytes(pickle.dumps({"test": content}))
    (tmp_path / "flat.pkl").write_bytes(pickle.dumps({k: v for k, v in content.items() if k != "id"}))
    folder = tmp_path / "folder"
    folder.mkdir()
    for m, x in arrays.items():
        np.save(folder / f"{m}.npy", x)
    numbers = list(map(str, range(10)))
    for name, ids, split in (("one.pkl", content["id"], "test"), ("flat.pkl", numbers, ""), ("folder", numbers, "")):
        predict_file(finished, tmp_path / name, tmp_path / "out.csv")
        rows = table(tmp_path / "out.csv")
        assert ([row["id"] for row in rows], {row["split"] for row in rows}) == (ids, {split})
        np.testing.assert_allclose(column(rows, "prediction"), expected, rtol=1e-4, atol=1e-5)


def test_the_csv_of_a_folder_names_samples_and_splits(finished, predictor, arrays, tmp_path):
    for m, x in arrays.items():
        np.save(tmp_path / f"{m}.npy", x)
    lines = [f"s{i},{'new' if i % 2 else 'old'}" for i in range(10)]
    (tmp_path / "samples.csv").write_text("\n".join(["id,split", *lines]))
    predict_file(finished, tmp_path, tmp_path / "out" / "p.csv", split="new")
    rows = table(tmp_path / "out" / "p.csv")
    assert [row["id"] for row in rows] == ["s1", "s3", "s5", "s7", "s9"]
    np.testing.assert_allclose(column(rows, "prediction"), predictor.predict(**arrays).prediction[1::2, 0], rtol=1e-4, atol=1e-5)
    (tmp_path / "more.csv").write_text("id\n")
    with pytest.raises(DataError, match=r"several csv files: more\.csv, samples\.csv"):
        predict_file(finished, tmp_path, tmp_path / "p.csv")


def test_a_folder_of_one_file_a_sample(finished, predictor, arrays, tmp_path):
    for m, x in arrays.items():
        (tmp_path / m).mkdir()
        for i, sample in enumerate(x):
            np.save(tmp_path / m / f"s{i}.npy", sample)
    predict_file(finished, tmp_path, tmp_path / "out" / "p.csv")
    rows = table(tmp_path / "out" / "p.csv")
    assert [row["id"] for row in rows] == [f"s{i}" for i in range(10)]
    (tmp_path / "vision" / "s3.npy").unlink()
    with pytest.raises(DataError, match=r"vision/s3\.npy\n(.|\n)*do: add it, or a csv with the column id, which says which samples"):
        predict_file(finished, tmp_path, tmp_path / "out" / "p.csv")
    (tmp_path / "samples.csv").write_text("id\ns3\n")
    with pytest.raises(DataError, match="add it, or take its line out of the csv"):
        predict_file(finished, tmp_path, tmp_path / "out" / "p.csv")


def test_layouts_with_keys_of_their_own(finished, store, tmp_path):
    content = {}
    for split in store.splits:
        x = store.read(split, list(range(store.size(split))))
        content[split] = {key: x[m] for m, key in KEYS.items()} | {"labels": store.labels(split)[:, None, None]}
    (tmp_path / "mult.pkl").write_bytes(pickle.dumps(content))
    assert predict_file(finished, tmp_path / "mult.pkl", tmp_path / "p.csv", "test") == 10
    assert [row["id"] for row in table(tmp_path / "p.csv")] == [f"test{i}" for i in range(10)]


def test_what_a_prediction_holds(predictor, arrays):
    found = predictor.predict(**arrays)
    assert (len(found), found.prediction.shape) == (10, (10, 1))
    for space in SPACES:
        assert list(found.unimodal[space]) == list(MODALITIES)
        assert found.edges[space].pairs[0] == ("vision", "language")
        np.testing.assert_allclose(found.edges[space].weights.sum(1), 1, rtol=1e-5)
        assert all(isinstance(x, np.ndarray) for x in found.unimodal[space].values())
        for m in MODALITIES:
            used, activations = found.active[space][m], found.activations[space][m]
            assert [set(u) for u in used] == [set(np.flatnonzero(a)) for a in activations]
            assert all(np.all(np.diff(a[u]) <= 0) for u, a in zip(used, activations, strict=True))


def test_the_batch_size_makes_no_difference_and_a_batch_is_taken(predictor, arrays):
    arrays = {m: np.nan_to_num(x, neginf=0) for m, x in arrays.items()}  # a batch made from arrays is finite
    whole = predictor.predict(**arrays)
    batch = dhmd.FeatureBatch.from_arrays(**arrays)
    for found in (predictor.predict(batch, batch_size=3), predictor.predict(batch, batch_size=1)):
        np.testing.assert_allclose(found.prediction, whole.prediction, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.edges["homogeneous"].weights, whole.edges["homogeneous"].weights, rtol=1e-4)
    assert torch.equal(batch.features["vision"], torch.from_numpy(arrays["vision"])), "the caller's batch stays raw"


def test_the_runs_standardisation_is_applied(predictor, arrays):
    scaling = predictor.preparation.scaling
    assert set(scaling) == set(MODALITIES)
    moved = {m: np.where(x == 0, 0, x + 3 * scaling[m].std.numpy()) for m, x in arrays.items()}
    assert not np.allclose(predictor.predict(**moved).prediction, predictor.predict(**arrays).prediction)


def test_non_finite_values_follow_the_runs_policy(finished, predictor, arrays, tiny, tmp_path, no_figures):
    broken = {m: x.copy() for m, x in arrays.items()}
    broken["acoustic"][0, 5] = -np.inf
    assert np.isfinite(predictor.predict(**broken).prediction).all(), "the demo's policy is zero"
    strict = dhmd.load(finished)
    strict.preparation = type(strict.preparation)(strict.preparation.scaling, "error")
    with pytest.raises(DataError, match=r"acoustic\n  found:      \d+ NaN or infinite values, the first in row 0"):
        strict.predict(**broken)


@pytest.mark.parametrize("by_sample", [False, True])
def test_non_finite_values_are_named_by_file_and_sample(by_sample, finished, arrays, tmp_path, monkeypatch):
    monkeypatch.setattr(Preparation, "of_run", lambda *args: Preparation({}, "error"))
    arrays = {m: np.nan_to_num(x, neginf=0) for m, x in arrays.items()}
    arrays["vision"][6, 5] = np.nan
    for m, x in arrays.items():
        (tmp_path / m).mkdir() if by_sample else np.save(tmp_path / f"{m}.npy", x)
        for i, sample in enumerate(x if by_sample else ()):
            np.save(tmp_path / m / f"{i}.npy", sample)
    with pytest.raises(DataError) as error:
        predict_file(finished, tmp_path, tmp_path / "p.csv", batch_size=4)
    where = tmp_path / "vision" / "6.npy" if by_sample else f"{tmp_path / 'vision.npy'}: sample 6"
    assert str(error.value).startswith(
        f"{where}\n  found:      {arrays['vision'].shape[2]} NaN or infinite values, the first in sample '6'"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.update(vision=a["vision"][..., :3]), r"vision\n  found:      3 features a frame\n.*\n.*trained on: demo"),
        (lambda a: a.update(vision=a["vision"][:, :5]), r"vision\n  found:      5 frames\n  expected:   12\n.*flattened"),
        (lambda a: a.pop("acoustic"), r"acoustic\n  found:      none; there are language, vision"),
        (lambda a: a.update(touch=a["vision"]), "touch is no modality of the run"),
        (lambda a: a.update(vision=a["vision"][0]), r"vision: features must be \(B, T, d\)"),
        (lambda a: a.update(vision=[["a"]]), "vision: no array of numbers"),
        (lambda a: a.clear(), "batch sizes differ|language\n  found:      none"),
        (lambda a: a.update(vision=a["vision"][:4]), "batch sizes differ"),
        (lambda a: a.update({m: x[:0] for m, x in a.items()}), "found:      no samples"),
    ],
)
def test_features_of_another_kind_are_refused(predictor, arrays, change, message):
    change(arrays)
    with pytest.raises(DataError, match=message):
        predictor.predict(**arrays)


def test_files_that_cannot_be_predicted(finished, arrays, tmp_path):
    out = tmp_path / "out.csv"

    def refused(content, message, split=None, error=DataError):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
        with pytest.raises(error, match=message):
            predict_file(finished, tmp_path / "x.pkl", out, split)
        assert not out.exists()

    split = {key: arrays[m] for m, key in KEYS.items()}
    refused([1, 2], "a pickled list")
    refused({"test": {"text": split["text"]}}, r"x\.pkl: test/vision\n  found:      nothing; there are text")
    refused({"test": {**split, "audio": split["audio"][..., :1]}}, r"x\.pkl: test: acoustic\n  found:      1 features a frame")
    refused({"test": {**split, "audio": split["audio"][:3]}}, r"test/audio\n  found:      3 samples")
    refused({"test": split}, "found 'valid', .* has test", "valid", UsageError)
    with pytest.raises(DataError, match="No such file"):
        predict_file(finished, tmp_path / "none.pkl", out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"language\.npy\n  found:      nothing; there are none"):
        predict_file(finished, tmp_path / "empty", out)
    np.save(tmp_path / "empty" / "language.npy", np.array([{}]), allow_pickle=True)
    np.save(tmp_path / "empty" / "vision.npy", arrays["vision"])
    np.save(tmp_path / "empty" / "acoustic.npy", arrays["acoustic"])
    with pytest.raises(DataError, match="an array of Python objects"):
        predict_file(finished, tmp_path / "empty", out)


def test_options_that_cannot_be(finished, store, tmp_path):
    with pytest.raises(UsageError, match="batch-size: found 0"):
        predict_file(finished, store.path, tmp_path / "p.csv", batch_size=0)
    with pytest.raises(UsageError, match="is a folder"):
        predict_file(finished, store.path, tmp_path)
    with pytest.raises(UsageError, match="device 'abacus' cannot be used"):
        predict_file(finished, store.path, tmp_path / "p.csv", device="abacus")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        predict_file(finished, store.path, tmp_path / "file" / "p.csv")


def test_sequences_of_any_length_where_heads_are_pooled(tiny, tmp_path, no_figures):
    run = train(tiny(tmp_path / "run", "trainer.max_epochs=1", "model.summary=pool", model="dmd")).run_dir
    predictor = dhmd.load(run)
    rng = np.random.default_rng(0)
    found = predictor.predict(**{m: rng.normal(size=(2, 5 + i, predictor.spec.dims[m])) for i, m in enumerate(MODALITIES)})
    assert found.prediction.shape == (2, 1)
    assert found.activations == {}
    assert found.active == {}


def test_language_alone(tiny, tmp_path, no_figures):
    predictor = dhmd.load(train(tiny(tmp_path / "run", "trainer.max_epochs=1", model="text_only")).run_dir)
    assert predictor.modalities == ("language",)
    found = predictor.predict(language=np.ones((3, 12, predictor.spec.dims["language"])))
    assert (found.prediction.shape, found.unimodal, found.edges) == ((3, 1), {}, {})


def test_importing_dhmd_stays_light():
    code = "import sys, dhmd; dhmd.__all__; print(sorted({'torch', 'numpy', 'hydra'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
