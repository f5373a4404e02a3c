"""Confusion matrices of predictions and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dhmd.analysis.style import class_name, drawing, new_figure
from dhmd.batch import Task
from dhmd.evaluation.metrics import predicted_class, sentiment_class


def confusion_matrix(truth: NDArray[Any], predicted: NDArray[Any], classes: Sequence[int]) -> NDArray[np.int64]:
    """Return the (C, C) counts: rows are labels, columns predictions, both in the order of ``classes``.

    Args:
        truth: (N,) class numbers.
        predicted: (N,) class numbers.
        classes: all class numbers that occur.
    """
    order = np.asarray(classes)
    return np.array([[np.sum((truth == t) & (predicted == p)) for p in order] for t in order], np.int64)


def confusion_counts(prediction: NDArray[Any], label: NDArray[Any], task: Task) -> tuple[NDArray[np.int64], NDArray[np.float64], list[str]]:
    """Return (C, C) counts of predictions (N, out_dim) and labels (N,), their shares of each row, and the classes' names."""
    if task == "regression":
        truth, predicted, classes = sentiment_class(label), sentiment_class(prediction), list(range(-3, 4))
    else:
        truth, predicted = label.astype(np.int64), predicted_class(prediction)
        classes = list(range(max(int(truth.max()), prediction.shape[1] - 1, 1) + 1))
    counts = confusion_matrix(truth, predicted, classes)
    return counts, counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), [class_name(c, task) for c in classes]


def confusion(prediction: NDArray[Any], label: NDArray[Any], task: Task, title: str) -> Figure:
    """Draw the confusion matrix: shares of each row as colour, counts in the cells. Sentiment scores fall into the seven classes of ACC7.

    Args:
        prediction: (N, out_dim).
        label: (N,).
        task: the kind of label.
        title: title of the figure.
    """
    counts, shares, names = confusion_counts(prediction, label, task)
    size = 0.42 * len(names)
    with drawing():
        figure = new_figure(max(size, 1.7) + 1.5, max(size, 1.7) + 1.1, title)
        axes = figure.subplots()
        image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for i, j in np.ndindex(*counts.shape):
            axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=7, color="white" if shares[i, j] > 0.55 else "#222222")
        axes.set_xticks(range(len(names)), names)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("predicted class")
        axes.set_ylabel("labelled class")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        figure.colorbar(image, ax=axes, label="share of the labelled class", shrink=0.8)
    return figure
