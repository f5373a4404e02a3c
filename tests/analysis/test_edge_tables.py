"""Edge tables by hand."""

import csv

import numpy as np
import pytest

from dhmd.analysis.edge_tables import edge_classes, edge_epochs, edge_samples
from dhmd.analysis.table import write_table
from dhmd.runs.arrays import ByEpoch, EdgeRecord

PAIRS = (("vision", "language"), ("language", "vision"))
WEIGHTS = np.array([[0.2, 0.8], [0.4, 0.6], [0.9, 0.1]])
LABEL = np.array([-1.2, -0.8, 2.9])
FIXED = EdgeRecord(PAIRS, np.array([0.5, 0.5]), None, None)


def learned(prior=(0.1, 0.9), **by_epoch):
    return EdgeRecord(PAIRS, None if prior is None else np.array(prior), by_epoch.pop("validation", None), WEIGHTS, **by_epoch)


def test_a_row_a_sample_and_edge():
    rows = edge_samples(
        {"homogeneous": learned(), "heterogeneous": FIXED}, ["a", "b", "c"], LABEL, np.array([[1.0], [2], [3]]), "regression"
    )
    assert len(rows) == 6
    assert rows[3] == {
        "id": "b",
        "label": -0.8,
        "prediction": 2.0,
        "space": "homogeneous",
        "teacher": "language",
        "student": "vision",
        "weight": 0.6,
    }


def test_other_tasks_have_the_predicted_class():
    scores = np.array([[0.1, 0.9, 0.0], [2, 1, 0], [0, 0, 1]])
    rows = edge_samples({"homogeneous": learned()}, ["a", "b", "c"], np.array([1, 0, 2]), scores, "multiclass")
    assert [int(row["prediction"]) for row in rows] == [1, 1, 0, 0, 2, 2]


def test_classes_by_hand():
    rows = {(row["class"], row["teacher"]): row for row in edge_classes({"homogeneous": learned()}, LABEL, "regression")}
    assert sorted({name for name, _ in rows}) == ["-1", "3", "all"]
    both = rows["-1", "vision"]
    assert (both["n"], both["mean"], both["std"]) == (2, pytest.approx(0.3), pytest.approx(0.1))
    assert (both["prior"], both["difference"]) == (0.1, pytest.approx(0.2))
    assert rows["all", "language"]["mean"] == pytest.approx(0.5)


def test_without_a_prior_there_is_no_difference(tmp_path):
    rows = edge_classes({"homogeneous": learned(prior=None)}, LABEL, "regression")
    write_table(rows, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert {(row["prior"], row["difference"]) for row in read} == {("", "")}
    assert [float(row["mean"]) for row in read] == [row["mean"] for row in rows], "in full precision"


def test_epochs_of_all_and_of_the_classes_there_are():
    validation = np.array([[0.5, 0.5], [0.3, 0.7]])
    by_class = np.stack([validation - 0.1, np.zeros((2, 2)), validation + 0.1], axis=1)
    training = ByEpoch(np.array([-1, 0, 1]), np.array([0.5, 0, 0.5]), {})
    edges = {"homogeneous": learned(validation=validation, validation_by_class=by_class), "heterogeneous": FIXED}
    rows = edge_epochs(edges, np.array([0, 1]), training)
    assert list(dict.fromkeys(row["class"] for row in rows)) == ["all", "-1", "1"], "nobody is in class 0"
    found = {(row["epoch"], row["class"], row["student"]): row["mean"] for row in rows}
    assert found[1, "1", "vision"] == pytest.approx(0.8)
    assert found[0, "all", "language"] == pytest.approx(0.5)


def test_epochs_without_classes_are_those_of_all():
    rows = edge_epochs({"homogeneous": learned(validation=np.full((2, 2), 0.5))}, np.array([0, 1]), None)
    assert {row["class"] for row in rows} == {"all"}
    assert len(rows) == 4
