"""Panels of a run's dictionaries: entries by modality and class, their number, and shared entries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dhmd.analysis.activations import Activations, Array, activation_classes, class_means, polarities, shared_top_entries, top_entries
from dhmd.analysis.dictionary_tables import SHARED, TOP, dictionary_usage
from dhmd.analysis.table import ALL
from dhmd.batch import Task
from dhmd.report.bars import grouped_bars
from dhmd.report.grids import Cell
from dhmd.report.heat import Cells, heat_map
from dhmd.report.pictures import Key, Panel, Picture, kinds_of
from dhmd.runs.arrays import Record

_ENTRIES = Cells(width=10, height=13, left=24, bottom=26, turned=True)


@dataclass(frozen=True)
class Usage:
    """Number of entries each modality uses, over the whole test split."""

    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def dictionary_panels(record: Record, task: Task) -> list[Panel]:
    """Draw heat-maps, counts and overlap of every space that has a dictionary."""
    panels = []
    for space, activations in record.activations.items():
        panels.append(_heat(space, activations, record.label, task))
        panels.append(_counts(space, activations, record.label, task))
        if polarities(record.label, task):  # empty if every label is 0
            panels.append(_overlap(space, activations, record.label, task))
    return panels


def usage_of(record: Record, task: Task) -> Usage | None:
    """Return a row for each space and modality; None without dictionaries."""
    rows = [row for row in dictionary_usage(record.activations, record.label, task) if row["class"] == ALL]
    header = ("space", "modality", "entries", "ever active", "active in a sample", "perplexity")
    cells = tuple(
        (
            Cell(row["space"], row["space"]),
            Cell(row["modality"], row["modality"]),
            Cell(str(row["entries"]), row["entries"]),
            Cell(str(row["ever_active"]), row["ever_active"]),
            Cell(f"{row['active_per_sample']:.1f}", row["active_per_sample"]),
            Cell(f"{row['perplexity']:.1f}", row["perplexity"]),
        )
        for row in rows
    )
    return Usage(header, cells) if cells else None


def _heat(space: str, activations: Activations, label: Array, task: Task) -> Panel:
    classes = list(activation_classes(label, task))
    means = class_means(activations, label, task)
    together = np.mean(list(means.values()), axis=0)
    columns = top_entries(together, TOP)
    columns = columns[np.lexsort((-together.max(axis=0)[columns], together[:, columns].argmax(axis=0)))]
    highest = max(float(mean[:, columns].max(initial=0)) for mean in means.values())
    names = [str(c) for c in columns.tolist()]
    pictures = tuple(
        Picture(
            modality,
            heat_map(
                f"{space} dictionary, {modality}: mean activation by class and entry",
                mean[:, columns],
                classes,
                names,
                highest=highest,
                cells=_ENTRIES,
                scale=1.25,
            ),
        )
        for modality, mean in means.items()
    )
    note = (
        "Mean activation, rows the labelled classes, "
        f"columns the {len(columns)} entries most used (their numbers below), the same in every "
        f"picture and sorted by the class an entry is most used in. The darkest is {highest:.3f}."
    )
    return Panel(f"Dictionary, {space} space", pictures, note, (), "wide")


def _counts(space: str, activations: Activations, label: Array, task: Task) -> Panel:
    classes = activation_classes(label, task)
    kinds = kinds_of(list(activations))
    counts = {name: [int((a[mask] > 0).any(axis=0).sum()) for mask in classes.values()] for name, a in activations.items()}
    chart = grouped_bars(f"{space} dictionary: distinct entries by class and modality", list(classes), counts, kinds)
    note = "Entries that are active in at least one sample of the labelled class."
    return Panel(f"Entries in use, {space} space", (Picture("", chart),), note, tuple(Key(*item) for item in kinds.items()), "single")


def _overlap(space: str, activations: Activations, label: Array, task: Task) -> Panel:
    keys, shared = shared_top_entries(activations, polarities(label, task), SHARED)
    names = [f"{modality}, {group}" for group, modality in keys]
    letters = [chr(ord("A") + i) if len(names) <= 26 else str(i + 1) for i in range(len(names))]
    cells = Cells(width=28, height=24, left=8.0 + 6.2 * (max(map(len, names)) + 3))
    rows = [f"{name}  {letter}" for name, letter in zip(names, letters, strict=True)]
    chart = heat_map(f"{space} dictionary: entries in common", shared, rows, letters, highest=SHARED, cells=cells, written=shared)
    return Panel(
        f"Overlap, {space} space", (Picture("", chart),), f"How many of their {SHARED} most used entries two groups share.", (), "single"
    )
