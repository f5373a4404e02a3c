"""Data of the browser of samples, as plain JSON."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dhmd.analysis.activations import Array
from dhmd.batch import Task
from dhmd.evaluation.metrics import predicted_class
from dhmd.runs.arrays import Record

ENTRIES = 5
"""Number of active entries shown of each modality and space."""


def drawn(n: int, limit: int) -> list[int]:
    """Return at most ``limit`` of n samples, evenly spaced: the same ones for every run on the same split."""
    return list(range(n)) if n <= limit else np.unique(np.linspace(0, n - 1, limit).round().astype(int)).tolist()


def samples_of(record: Record, task: Task, rows: list[int]) -> dict[str, Any]:
    """Return the chosen samples with their prediction, edges and active entries.

    Args:
        record: record of a run.
        task: the kind of label.
        rows: rows of the samples.
    """
    regression = task == "regression"
    predicted = record.prediction[:, 0] if regression else predicted_class(record.prediction)
    return {
        "task": task,
        "spaces": {
            space: {"pairs": [f"{t} → {s}" for t, s in edges.pairs], "prior": None if edges.prior is None else _numbers(edges.prior)}
            for space, edges in record.edges.items()
            if edges.weights is not None
        },
        "samples": [
            {
                "id": record.ids[i],
                "label": _number(record.label[i]),
                "prediction": _number(predicted[i]),
                **({} if regression else {"scores": _numbers(record.prediction[i])}),
                "edges": {space: _numbers(edges.weights[i]) for space, edges in record.edges.items() if edges.weights is not None},
                "entries": {
                    space: {modality: _entries(activation[i]) for modality, activation in by_modality.items()}
                    for space, by_modality in record.activations.items()
                },
            }
            for i in rows
        ],
    }


def _entries(activation: Array) -> list[list[float]]:
    order = np.argsort(-activation, kind="stable")[:ENTRIES].tolist()
    return [[k, round(float(activation[k]), 3)] for k in order if activation[k] > 0]


def _numbers(values: Array) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: Any) -> float | None:
    number = float(value)
    return round(number, 3) if math.isfinite(number) else None
