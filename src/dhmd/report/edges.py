"""Panels of a run's edges: graphs beside their prior, weights by class and over training."""

from __future__ import annotations

import numpy as np

from dhmd.analysis.activations import Array, class_numbers
from dhmd.batch import Task
from dhmd.report.graphs import edge_graph
from dhmd.report.lines import Line, line_chart
from dhmd.report.pictures import Key, Panel, Picture, class_kind, class_title, kinds_of
from dhmd.runs.arrays import ByEpoch, EdgeRecord, Record

_DASHES = ("", " dash1", " dash2", " dash3")


def edge_panels(record: Record, task: Task, epochs: Array, kept: int | None) -> list[Panel]:
    """Draw the panels of every space that has a Graph Distillation Unit."""
    panels = []
    for space, edges in record.edges.items():
        kinds = kinds_of(list(dict.fromkeys(student for _, student in edges.pairs)))
        keys = tuple(Key(f"{name} teaches", kind) for name, kind in kinds.items())
        panels.append(_graphs(space, edges, record.label, task, kinds, keys))
        if edges.validation is not None and min(len(edges.validation), len(epochs)):
            panels += _over_training(space, edges, record.training, task, epochs, kept, kinds)
    return panels


def _graphs(space: str, edges: EdgeRecord, label: Array, task: Task, kinds: dict[str, str], keys: tuple[Key, ...]) -> Panel:
    pictures = []
    if edges.prior is not None:
        pictures.append(Picture("prior", edge_graph(f"{space} edges, prior", edges.pairs, edges.prior, kinds)))
    if edges.weights is not None:
        everything = np.asarray(edges.weights, np.float64)
        pictures.append(
            Picture("learned, all test samples", edge_graph(f"{space} edges, all", edges.pairs, everything.mean(axis=0), kinds))
        )
        numbers = class_numbers(label, task)
        for c in np.unique(numbers).tolist():
            mean = everything[numbers == c].mean(axis=0)
            title = f"learned, {class_title(c, task)} (n={int((numbers == c).sum())})"
            pictures.append(Picture(title, edge_graph(f"{space} edges, {title}", edges.pairs, mean, kinds)))
    notes = []
    if edges.weights is None:
        notes.append("The edges of this run are not learned: they are fixed or uniform.")
    else:
        numbered = "" if len(kinds) <= 3 else " (written where it is above the average)"
        notes.append(f"Width and number{numbered} are the weight; the weights of a sample sum to 1 over the edges.")
    if edges.prior is None:
        notes.append("There is no prior.")
    return Panel(f"Edges, {space} space, test split", tuple(pictures), " ".join(notes), keys, "graphs")


def _over_training(
    space: str, edges: EdgeRecord, training: ByEpoch | None, task: Task, epochs: Array, kept: int | None, kinds: dict[str, str]
) -> list[Panel]:
    validation = np.asarray(edges.validation, np.float64)
    n = min(len(epochs), len(validation))  # a run stopped while writing may have one more of either
    best = np.flatnonzero(epochs[:n] == kept).tolist()
    shown = sorted({0, n // 2, n - 1, *best})
    graphs = [
        Picture(
            f"epoch {epochs[i]:.0f}" + (" (kept)" if i in best else ""),
            edge_graph(f"{space} edges, validation, epoch {epochs[i]:.0f}", edges.pairs, validation[i], kinds),
        )
        for i in shown
    ]
    lines, seen = [], dict.fromkeys(kinds, 0)
    for e, (teacher, student) in enumerate(edges.pairs):
        kind = kinds[teacher] + _DASHES[seen[teacher] % len(_DASHES)]
        seen[teacher] += 1
        lines.append(Line(f"{teacher} → {student}", validation[:n, e], kind, None if edges.prior is None else float(edges.prior[e])))
    chart = line_chart(f"{space} edges by epoch", epochs[:n], lines, kept=kept, size=(460, 260), from_zero=True)
    keys = tuple(Key(one.name, one.kind) for one in lines)
    mark = " Marks at the right edge are the prior." if edges.prior is not None else ""
    panels = [
        Panel(f"Edges over training, {space} space, validation split", tuple(graphs), "Means over the split.", (), "graphs"),
        Panel("Mean weight by epoch", (Picture("all samples", chart),), f"The dotted line is the epoch kept.{mark}", keys, "single"),
    ]
    if edges.validation_by_class is not None and training is not None:
        panels.append(_by_class(space, edges, np.asarray(edges.validation_by_class)[:n], training, task, epochs[:n], kept))
    return panels


def _by_class(space: str, edges: EdgeRecord, weights: Array, training: ByEpoch, task: Task, epochs: Array, kept: int | None) -> Panel:
    there = np.flatnonzero(training.share > 0).tolist()
    numbers = {c: int(training.classes[c]) for c in there}
    pictures = []
    for e, (teacher, student) in enumerate(edges.pairs):
        prior = None if edges.prior is None else float(edges.prior[e])
        lines = [Line(class_title(numbers[c], task), weights[:, c, e], class_kind(numbers[c], task)) for c in there]
        title = f"{teacher} → {student}"
        chart = line_chart(f"{space} edge {title} by epoch and class", epochs, lines, kept=kept, prior=prior, from_zero=True)
        pictures.append(Picture(title, chart))
    keys = tuple(Key(class_title(numbers[c], task), class_kind(numbers[c], task)) for c in there)
    keys += (Key("prior", "prior-line"),) if edges.prior is not None else ()
    return Panel("Mean weight by epoch and class", tuple(pictures), "Each picture has a scale of its own.", keys)
