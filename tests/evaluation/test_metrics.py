"""The metrics: equal to MMSA's numbers, to sklearn and scipy, and defined where the formulas are not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr
from sklearn.metrics import accuracy_score, f1_score

from dhmd.evaluation.metrics import LABELS, classification_metrics, metrics_for, predicted_class, regression_metrics, sentiment_class

REFERENCE = json.loads((Path(__file__).parents[1] / "data/metrics_reference.json").read_text())
THEIR_NAMES = {
    "mosi": {
        "Has0_acc_2": "acc2_has_zero",
        "Has0_F1_score": "f1_has_zero",
        "Non0_acc_2": "acc2_non_zero",
        "Non0_F1_score": "f1_non_zero",
        "Mult_acc_5": "acc5",
        "Mult_acc_7": "acc7",
        "MAE": "mae",
        "Corr": "corr",
    },
    "sims": {"Mult_acc_2": "acc2", "Mult_acc_3": "acc3", "Mult_acc_5": "acc5", "F1_score": "f1", "MAE": "mae", "Corr": "corr"},
}
scores = st.integers(1, 40).flatmap(lambda n: arrays(np.float32, (2, n), elements=st.floats(-4, 4, width=32)))
# few distinct values: halves and borders, where conventions differ
rough = st.integers(1, 40).flatmap(lambda n: arrays(np.float32, (2, n), elements=st.sampled_from(np.linspace(-3.5, 3.5, 29).tolist())))


@pytest.mark.parametrize("case", REFERENCE)
def test_equals_the_authors_to_their_four_digits(case):
    reference = REFERENCE[case]
    ours = regression_metrics(reference["pred"], reference["true"], reference["dataset"])
    names = THEIR_NAMES[reference["dataset"]]
    assert {theirs: round(ours[names[theirs]], 4) for theirs in reference["metrics"]} == reference["metrics"]


def test_the_reference_covers_every_key_but_acc3_of_mosi():
    keys = set(regression_metrics([1.0], [1.0], "mosi"))
    assert keys - set(THEIR_NAMES["mosi"].values()) == {"acc3"}
    assert set(regression_metrics([1.0], [1.0], "sims")) == set(THEIR_NAMES["sims"].values())


@given(st.one_of(scores, rough))
def test_mosi_equals_sklearn_and_scipy(pair):
    p, y = pair
    ours = regression_metrics(p, y)
    kept = y != 0
    if kept.any():
        assert ours["acc2_non_zero"] == pytest.approx(accuracy_score(y[kept] > 0, p[kept] > 0))
        assert ours["f1_non_zero"] == pytest.approx(f1_score(y[kept] > 0, p[kept] > 0, average="weighted"))
    assert ours["acc2_has_zero"] == pytest.approx(accuracy_score(y >= 0, p >= 0))
    assert ours["f1_has_zero"] == pytest.approx(f1_score(y >= 0, p >= 0, average="weighted"))
    for key, limit in (("acc3", 1), ("acc5", 2), ("acc7", 3)):
        theirs = accuracy_score(np.round(np.clip(y, -limit, limit)), np.round(np.clip(p, -limit, limit)))
        assert ours[key] == pytest.approx(theirs)
    if np.ptp(p) > 1e-3 and np.ptp(y) > 1e-3:
        assert ours["corr"] == pytest.approx(pearsonr(p.astype(float), y.astype(float)).statistic, abs=1e-9)


@given(st.one_of(scores, rough))
def test_sims_equals_explicit_intervals(pair):
    p, y = np.clip(pair, np.float32(-1), np.float32(1))
    ours = regression_metrics(pair[0], pair[1], "sims")

    def classes(x, borders):  # (b_i, b_i+1], one sample at a time
        edges = [np.float32(b) for b in (-2, *borders, 2)]
        return [next(i for i in range(len(edges) - 1) if edges[i] < v <= edges[i + 1]) for v in x]

    for key, borders in (("acc2", [0]), ("acc3", [-0.1, 0.1]), ("acc5", [-0.7, -0.1, 0.1, 0.7])):
        assert ours[key] == pytest.approx(accuracy_score(classes(y, borders), classes(p, borders)))
    assert ours["f1"] == pytest.approx(f1_score(classes(y, [0]), classes(p, [0]), average="weighted"))
    assert ours["mae"] == pytest.approx(np.abs(p.astype(float) - y).mean())


@given(st.integers(2, 5).flatmap(lambda c: st.lists(st.tuples(st.integers(0, c - 1), st.integers(0, c - 1)), min_size=1, max_size=40)))
def test_classification_equals_sklearn(pairs):
    p, y = np.array(pairs).T
    ours = classification_metrics(np.eye(5)[p], y)
    assert ours["accuracy"] == pytest.approx(accuracy_score(y, p))
    assert ours["f1_weighted"] == pytest.approx(f1_score(y, p, average="weighted", zero_division=0))
    assert ours["f1_macro"] == pytest.approx(f1_score(y, p, average="macro", zero_division=0))


@given(scores)
def test_everything_is_a_finite_number_and_within_its_range(pair):
    for convention in ("mosi", "sims"):
        for key, value in regression_metrics(*pair, convention).items():
            assert type(value) is float
            assert math.isfinite(value)
            assert key == "mae" or (-1 if key == "corr" else 0) <= value <= 1 + 1e-12


def test_half_is_rounded_to_even():
    assert sentiment_class([0.5, 1.5, 2.5, -0.5, -1.5, 9, -9]).tolist() == [0, 2, 2, 0, -2, 3, -3]


def test_the_two_zero_conventions_differ_where_they_should():
    metrics = regression_metrics([0.0, -1.0, 1.0, -1.0], [0.0, 0.0, 1.0, -1.0])
    assert metrics["acc2_non_zero"] == 1.0
    assert metrics["acc2_has_zero"] == 0.75


def test_sims_clips_before_mae_and_counts_zero_as_negative():
    metrics = regression_metrics([3.0, 0.0, -5.0], [1.0, -0.2, -1.0], "sims")
    assert metrics["mae"] == pytest.approx(0.2 / 3)
    assert metrics["acc2"] == 1.0


@pytest.mark.parametrize("widen", [np.float32, np.float64, float])
def test_a_label_on_a_sims_border_keeps_its_class_at_any_precision(widen):
    on_border = [widen(x) for x in np.array([0.1, 0.7, -0.1, -0.7], np.float32)]
    assert regression_metrics([0.0, 0.5, -0.5, -0.8], on_border, "sims")["acc5"] == 1.0


@pytest.mark.parametrize("prediction", [[0.1, 0.1, 0.1], [0.7, 0.7, 0.7], [0.0, 0.0, 0.0]])
def test_correlation_with_a_constant_is_zero(prediction):
    assert regression_metrics(prediction, [1.0, 2.0, -0.3])["corr"] == 0.0
    assert regression_metrics([1.0, 2.0, -0.3], prediction)["corr"] == 0.0


def test_nearly_constant_float32_predictions_still_correlate():
    y = np.linspace(-3, 3, 50, dtype=np.float32)
    p = np.float32(1000) + np.round(y) * np.float32(1e-3)
    assert regression_metrics(p, y)["corr"] > 0.9


def test_an_empty_non_zero_set_is_zero():
    metrics = regression_metrics([1.0, -1.0], [0.0, 0.0])
    assert (metrics["acc2_non_zero"], metrics["f1_non_zero"]) == (0.0, 0.0)


def test_one_sample():
    metrics = regression_metrics([1.2], [1.0])
    assert metrics["acc7"] == 1.0
    assert metrics["corr"] == 0.0
    assert classification_metrics([2.0], [1])["f1_macro"] == 1.0


def test_tensors_columns_and_half_precision_are_read():
    p, y = torch.tensor([[0.5], [-1.0], [2.0]], requires_grad=True), [1.0, -1.0, 2.0]
    assert regression_metrics(p, torch.tensor(y)[:, None]) == regression_metrics([0.5, -1.0, 2.0], y)
    assert regression_metrics(p.bfloat16(), y) == regression_metrics([0.5, -1.0, 2.0], y)


def test_scores_become_classes():
    assert predicted_class([[0.1, 0.9, 0.0], [1.0, 1.0, 0.0]]).tolist() == [1, 0]
    assert predicted_class([[-0.1], [0.0], [0.1]]).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("prediction", "label", "told"),
    [
        ([1.0], [1.0, 2.0], "1 predictions and 2 labels"),
        ([], [], "at least one"),
        ([float("nan"), 1.0], [1.0, 2.0], "prediction: 1 of 2"),
        ([1.0, 2.0], [float("inf"), 2.0], "label: 1 of 2"),
        (np.zeros((2, 3)), [1.0, 2.0], r"shape \(2, 3\)"),
    ],
)
def test_what_cannot_be_scored_is_refused(prediction, label, told):
    with pytest.raises(ValueError, match=told):
        regression_metrics(prediction, label)


def test_labels_of_a_classification_are_class_numbers():
    with pytest.raises(ValueError, match="class numbers"):
        classification_metrics([1.0, -1.0], [0.5, 1.0])
    with pytest.raises(ValueError, match="class numbers"):
        classification_metrics([1.0, -1.0], [-1.0, 1.0])


def test_an_unknown_convention_is_refused():
    for call in (lambda: regression_metrics([1.0], [1.0], "mosei"), lambda: metrics_for("regression", "mosei")):
        with pytest.raises(ValueError, match="'mosei'"):
            call()


def test_every_key_has_a_label_for_people():
    keys = {*regression_metrics([1.0], [1.0]), *regression_metrics([1.0], [1.0], "sims"), *classification_metrics([1.0], [1])}
    assert keys | {"loss"} == set(LABELS)
    assert len(set(LABELS.values())) == len(LABELS)
