"""Tables of edge weights: per sample, by class and by epoch, beside the prior."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from dhmd.analysis.activations import Array, class_numbers
from dhmd.analysis.table import ALL, Row
from dhmd.batch import Task
from dhmd.evaluation.metrics import predicted_class
from dhmd.runs.arrays import ByEpoch, EdgeRecord

Edges = Mapping[str, EdgeRecord]


def edge_samples(edges: Edges, ids: Sequence[str], label: Array, prediction: Array, task: Task) -> list[Row]:
    """Return a row for each edge and sample, for the spaces whose edges are learned.

    Args:
        edges: edges of each space.
        ids: ids of the N samples.
        label: (N,).
        prediction: (N, out_dim); the table has the value of a regression, and the predicted class of other tasks.
        task: the kind of label.
    """
    predicted = prediction[:, 0] if task == "regression" else predicted_class(prediction)
    return [
        {"id": ids[i], "label": label[i], "prediction": predicted[i], "space": space, "teacher": teacher, "student": student, "weight": w}
        for space, record, weights in _learned(edges)
        for i, row in enumerate(weights)
        for (teacher, student), w in zip(record.pairs, row, strict=True)
    ]


def edge_classes(edges: Edges, label: Array, task: Task) -> list[Row]:
    """Return mean, standard deviation (divided by n), prior and mean - prior: a row for each edge and class, and one for all samples.

    Args:
        edges: edges of each space.
        label: (N,).
        task: the kind of label.
    """
    numbers = class_numbers(label, task)
    groups = {ALL: np.ones(len(label), bool), **{str(c): numbers == c for c in np.unique(numbers).tolist()}}
    rows = []
    for space, record, weights in _learned(edges):
        for name, mask in groups.items():
            mean, std = weights[mask].mean(axis=0), weights[mask].std(axis=0)
            for e, (teacher, student) in enumerate(record.pairs):
                prior = None if record.prior is None else float(record.prior[e])
                rows.append(
                    {
                        "space": space,
                        "class": name,
                        "n": int(mask.sum()),
                        "teacher": teacher,
                        "student": student,
                        "mean": float(mean[e]),
                        "std": float(std[e]),
                        "prior": prior,
                        "difference": None if prior is None else float(mean[e]) - prior,
                    }
                )
    return rows


def edge_epochs(edges: Edges, epochs: Array, training: ByEpoch | None) -> list[Row]:
    """Return the mean weights over the validation split during training: a row for each edge, class and epoch.

    Classes without samples have no rows.

    Args:
        edges: edges of each space.
        epochs: (epochs,) numbers of the epochs.
        training: the classes of ``validation_by_class``; None without them.
    """
    rows = []
    for space, record in edges.items():
        if record.validation is None:
            continue
        means = {ALL: record.validation}
        if training is not None and record.validation_by_class is not None:
            there = np.flatnonzero(training.share > 0)
            means |= {str(training.classes[c]): record.validation_by_class[:, c] for c in there}
        for name, by_epoch in means.items():
            for epoch, weights in zip(epochs, by_epoch, strict=False):  # a run stopped while writing may have one more of either
                for e, (teacher, student) in enumerate(record.pairs):
                    row: Row = {"epoch": int(epoch), "space": space, "class": name, "teacher": teacher, "student": student}
                    prior = None if record.prior is None else float(record.prior[e])
                    rows.append({**row, "mean": float(weights[e]), "prior": prior})
    return rows


def _learned(edges: Edges) -> Iterator[tuple[str, EdgeRecord, Array]]:
    for space, record in edges.items():
        if record.weights is not None:
            yield space, record, np.asarray(record.weights, np.float64)
