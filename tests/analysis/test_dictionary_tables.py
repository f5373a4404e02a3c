"""Dictionary tables and drift by hand."""

import math

import numpy as np
import pytest

from dhmd.analysis.dictionary_tables import cosine, dictionary_overlap, dictionary_top, dictionary_usage, jaccard, perplexity
from dhmd.analysis.drift import dictionary_drift, epoch_means
from dhmd.runs.arrays import ByEpoch

LABEL = np.array([-1.0, -1.0, 2.0])
A = np.array([[0.5, 0.5, 0, 0], [1.0, 0, 0, 0], [0, 0, 0.25, 0.75]])
B = np.array([[0, 1.0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1.0]])
SPACE = {"homogeneous": {"language": A, "vision": B}}


def test_perplexity_counts_entries_used_alike():
    assert perplexity(np.array([1.0, 1, 1, 0])) == pytest.approx(3)
    assert perplexity(np.array([1.0, 0])) == pytest.approx(1)
    assert perplexity(np.array([3.0, 1.0])) == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    assert perplexity(np.zeros(3)) == 0


def test_similarities():
    assert cosine(np.array([1.0, 0]), np.array([1.0, 1])) == pytest.approx(1 / math.sqrt(2))
    assert cosine(np.zeros(2), np.ones(2)) == 0
    assert (jaccard({1, 2, 3}, {2, 3, 4}), jaccard(set(), set())) == (0.5, 0)


def test_usage_by_hand():
    rows = {(row["modality"], row["class"]): row for row in dictionary_usage(SPACE, LABEL, "regression")}
    assert list(rows) == [(m, c) for m in ("language", "vision") for c in ("all", "-1", "2")]
    negative = rows["language", "-1"]
    assert (negative["n"], negative["entries"], negative["ever_active"], negative["active_per_sample"]) == (2, 4, 2, 1.5)
    assert negative["perplexity"] == pytest.approx(perplexity(np.array([0.75, 0.25])))
    assert (rows["language", "all"]["ever_active"], rows["vision", "all"]["ever_active"]) == (4, 2)


def test_overlap_by_hand():
    rows = dictionary_overlap(SPACE, LABEL, "regression", k=2)
    found = {(r["class_a"], r["modality_a"], r["class_b"], r["modality_b"]): r for r in rows}
    assert len(found) == len(rows) == 1 + 6, "all with all, and each two of four groups"
    together = found["all", "language", "all", "vision"]
    # tops of language: entries 0 (mean 0.5) and 3 (0.25); of vision: 1 and 3
    assert (together["shared_of_top"], together["expected_by_chance"]) == (1, 1.0)
    assert together["jaccard_ever_active"] == 0.5
    assert together["cosine_of_means"] == pytest.approx(cosine(A.mean(0), B.mean(0)))
    assert found["negative", "language", "negative", "vision"]["shared_of_top"] == 1
    apart = found["negative", "language", "positive", "language"]
    assert (apart["shared_of_top"], apart["jaccard_ever_active"], apart["cosine_of_means"]) == (0, 0, 0)


def test_the_top_counts_classes_alike():
    rows = dictionary_top(SPACE, LABEL, "regression", k=2)
    # means of classes and modalities: entry 0: (.75+0+0+0)/4, 1: (.25+0+1+0)/4, 2: .25/4, 3: (.75+1)/4
    assert [(row["rank"], row["entry"]) for row in rows[::4]] == [(1, 3), (2, 1)]
    assert [(r["modality"], r["class"], r["n"], r["mean_activation"]) for r in rows[:4]] == [
        ("language", "-1", 2, 0.0),
        ("language", "2", 1, 0.75),
        ("vision", "-1", 2, 0.0),
        ("vision", "2", 1, 1.0),
    ]


def test_epoch_means_weigh_classes_by_their_samples():
    x = np.array([[[1.0, 0], [0, 0], [0, 1.0]]])
    training = ByEpoch(np.array([-1, 0, 1]), np.array([0.25, 0, 0.75]), {"homogeneous": {"vision": x}})
    assert epoch_means(training)["homogeneous"]["vision"].tolist() == [[0.25, 0.75]]


def test_drift_by_hand():
    means = {"homogeneous": {"vision": np.array([[1.0, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]])}}
    rows = dictionary_drift(means, np.array([0, 1, 2]), kept=1, k=2)
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    half = pytest.approx(math.sqrt(0.5))
    assert [row["cosine_to_kept"] for row in rows] == [half, pytest.approx(1), pytest.approx(0.5)]
    assert [row["cosine_to_previous"] for row in rows] == [None, half, pytest.approx(0.5)]
    assert [row["jaccard_top_to_kept"] for row in rows] == [pytest.approx(1 / 2), 1, pytest.approx(1 / 3)]
    assert [row["entries_in_use"] for row in rows] == [1, 2, 2]
