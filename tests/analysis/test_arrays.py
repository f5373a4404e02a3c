"""Numbers behind the figures, by hand and against sklearn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix as sklearns

from dhmd.analysis.activations import activation_classes, polarities, shared_top_entries, top_entries
from dhmd.analysis.confusion import confusion_matrix
from dhmd.analysis.embeddings import project
from dhmd.analysis.style import class_name, colours
from dhmd.batch import MODALITIES


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(-3, 3)), min_size=1, max_size=60))
def test_confusion_is_sklearns(pairs):
    truth, predicted = np.array(pairs).T
    classes = list(range(-3, 4))
    assert (confusion_matrix(truth, predicted, classes) == sklearns(truth, predicted, labels=classes)).all()


def test_sentiment_falls_into_the_classes_of_acc7():
    classes = activation_classes(np.array([-2.6, -0.4, 0.0, 0.5, 1.5, 2.5, 2.6]), "regression")
    assert list(classes) == ["−3", "0", "+2", "+3"]
    assert [int(mask.sum()) for mask in classes.values()] == [1, 3, 2, 1]


def test_classes_of_other_tasks_are_their_own():
    label = np.array([0, 2, 2])
    assert list(activation_classes(label, "multiclass")) == ["0", "2"]
    assert list(polarities(label, "multiclass")) == ["0", "2"]
    assert list(polarities(np.array([-1.0, 0.0]), "regression")) == ["negative"]


def test_top_entries_are_active_ones_highest_first():
    activation = np.array([[0.0, 0.5, 0.0, 0.2], [0.0, 0.1, 0.0, 0.6]])
    assert top_entries(activation, 3).tolist() == [3, 1]
    assert top_entries(activation, 1).tolist() == [3]


def test_shared_entries_by_hand():
    a = np.array([[1.0, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.5]])
    b = np.array([[1.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 1.0]])
    masks = {"negative": np.array([True, False]), "positive": np.array([False, True])}
    keys, shared = shared_top_entries({"language": a, "vision": b}, masks, k=2)
    assert keys == [("negative", "language"), ("negative", "vision"), ("positive", "language"), ("positive", "vision")]
    # entries {0,1}, {0,2}, {2,3}, {3}
    assert shared.tolist() == [[2, 1, 0, 0], [1, 2, 1, 0], [0, 1, 2, 1], [0, 0, 1, 1]]


def test_projection_takes_the_same_samples_of_every_modality_and_repeats(monkeypatch):
    monkeypatch.setattr("dhmd.analysis.embeddings.MAX_POINTS", 100)
    generator = np.random.default_rng(0)
    embeddings = {name: generator.normal(size=(60, 8)) for name in MODALITIES}
    points, rows, names = project(embeddings)
    each = 33
    assert points.shape == (3 * each, 2)
    assert names == [name for name in MODALITIES for _ in range(each)]
    assert (rows[:each] == rows[each : 2 * each]).all()
    assert len(set(rows.tolist())) == each
    assert np.array_equal(points, project(embeddings)[0])


def test_projection_separates_what_is_far_apart():
    generator = np.random.default_rng(0)
    embeddings = {name: generator.normal(20 * i, 1, (20, 5)) for i, name in enumerate(MODALITIES)}
    points, _, names = project(embeddings)
    centres = {name: points[np.array(names) == name].mean(axis=0) for name in MODALITIES}
    nearest = [min(centres, key=lambda n: np.linalg.norm(p - centres[n])) for p in points]
    assert nearest == names


@pytest.mark.parametrize("number", range(-3, 4))
def test_class_names(number):
    assert class_name(number, "regression") == {-3: "−3", -2: "−2", -1: "−1", 0: "0", 1: "+1", 2: "+2", 3: "+3"}[number]
    assert class_name(1, "multiclass") == "1"


def test_a_modality_keeps_its_colour_whoever_stands_beside_it():
    assert colours(["vision"])["vision"] == colours(MODALITIES)["vision"]
    four = colours([*MODALITIES, "physiology"])
    assert len(set(four.values())) == 4
