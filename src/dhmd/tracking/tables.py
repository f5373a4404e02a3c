"""The tables of a run that W&B shows, as rows of plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from dhmd.analysis.dictionary_tables import dictionary_top
from dhmd.analysis.edge_tables import edge_classes
from dhmd.analysis.table import Row
from dhmd.batch import Task
from dhmd.evaluation.metrics import predicted_class
from dhmd.runs.arrays import Record

TOP = 10
"""Number of dictionary entries listed for a space."""


def run_tables(record: Record, task: Task) -> dict[str, list[Row]]:
    """Return the tables by name; tables of stages that the network lacks are omitted.

    Returns:
        ``edges`` (learned weights of the test split by class, against the prior), ``edges_by_sample`` (a row a sample and space),
        ``top_activations`` (mean activation of the most active entries by modality and class).
    """
    tables = {
        "edges": edge_classes(record.edges, record.label, task),
        "edges_by_sample": _by_sample(record, task),
        "top_activations": dictionary_top(record.activations, record.label, task, TOP),
    }
    return {name: [{k: _plain(v) for k, v in row.items()} for row in rows] for name, rows in tables.items() if rows}


def _by_sample(record: Record, task: Task) -> list[Row]:
    """Return a wide table, so that a sample can be found and sorted by an edge; edges of another space stay empty."""
    predicted = record.prediction[:, 0] if task == "regression" else predicted_class(record.prediction)
    learned = {space: edges for space, edges in record.edges.items() if edges.weights is not None}
    names = list(dict.fromkeys(name for edges in learned.values() for name in edges.names))
    rows = []
    for space, edges in learned.items():
        for i, weights in enumerate(np.asarray(edges.weights)):
            row: Row = {"id": record.ids[i], "label": record.label[i], "prediction": predicted[i], "space": space}
            rows.append({**row, **dict.fromkeys(names), **dict(zip(edges.names, weights, strict=True))})
    return rows


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
