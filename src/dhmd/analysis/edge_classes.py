"""Edge weights over samples, classes and epochs, drawn against the prior, on a scale around the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dhmd.analysis.activations import Array, class_numbers
from dhmd.analysis.edge_scale import key, limits, mark_prior
from dhmd.analysis.style import PALETTE, SENTIMENT, class_name, colours, drawing, epochs_axis, new_figure
from dhmd.batch import Task
from dhmd.runs.arrays import ByEpoch, EdgeRecord

_COLUMNS = 6


def edge_distributions(edges: Mapping[str, EdgeRecord], title: str) -> Figure:
    """Draw the distribution of each edge's weight over samples: a violin an edge, a bar between the quartiles, a white dot at the median.

    Args:
        edges: edges of each space that has learned weights of samples.
        title: title of the figure.
    """
    with drawing():
        widest = max(len(record.pairs) for record in edges.values())
        figure = new_figure((0.5 * widest + 0.7) * len(edges) + 0.3, 3.6, title)
        panels = figure.subplots(1, len(edges), squeeze=False)[0]  # each on its own scale
        beyond = []
        for axes, (space, record) in zip(panels, edges.items(), strict=True):
            colour = colours(list(dict.fromkeys(teacher for teacher, _ in record.pairs)))
            weights = np.asarray(record.weights, np.float64)
            drawn = axes.violinplot(list(weights.T), range(len(record.pairs)), widths=0.85, showextrema=False)
            for body, (teacher, _) in zip(drawn["bodies"], record.pairs, strict=True):  # type: ignore[arg-type, unused-ignore]
                body.set(facecolor=colour[teacher], edgecolor="none", alpha=0.45)
            low, middle, high = np.quantile(weights, [0.25, 0.5, 0.75], axis=0)
            axes.vlines(range(len(record.pairs)), low, high, color=[colour[teacher] for teacher, _ in record.pairs], linewidth=4)
            axes.scatter(range(len(record.pairs)), middle, color="white", s=7, zorder=3)
            ends = limits(weights, record.prior)
            axes.set_ylim(ends)
            if record.prior is not None:
                beyond += [mark_prior(axes, float(p), ends, (e - 0.42, e + 0.42)) for e, p in enumerate(record.prior)]
            axes.set_xticks(
                range(len(record.pairs)), [f"{t} → {s}" for t, s in record.pairs], rotation=45, ha="right", rotation_mode="anchor"
            )
            axes.set_title(space, loc="left")
            axes.grid(axis="y")
            axes.set_axisbelow(True)
            axes.ticklabel_format(axis="y", useOffset=False)
        panels[0].set_ylabel("edge weight of a sample")
        if beyond:
            figure.legend(handles=[key(dashed=False, beyond=any(beyond))], loc="outside lower center")
    return figure


def edges_by_class(record: EdgeRecord, label: Array, task: Task, title: str) -> Figure:
    """Draw one panel an edge of one space: mean weight in each class with bars of one standard deviation, and the prior as a line.

    Args:
        record: edges of the space, with learned weights of samples.
        label: (N,).
        task: the kind of label.
        title: title of the figure.
    """
    numbers = class_numbers(label, task)
    classes = np.unique(numbers).tolist()
    weights = np.asarray(record.weights, np.float64)
    mean, std = (np.stack([f(weights[numbers == c], axis=0) for c in classes]) for f in (np.mean, np.std))
    colour = colours(list(dict.fromkeys(teacher for teacher, _ in record.pairs)))
    with drawing():
        figure, panels = _panels(record, title)
        for e, (axes, (teacher, _)) in enumerate(zip(panels, record.pairs, strict=True)):
            at = range(len(classes))
            axes.errorbar(at, mean[:, e], std[:, e], color=colour[teacher], marker="o", markersize=3.5, linewidth=0.9, elinewidth=1.2)
            axes.set_xticks(at, [class_name(c, task) for c in classes])
            axes.set_xlim(-0.5, len(classes) - 0.5)
            axes.grid(axis="y")
            axes.set_axisbelow(True)
        _finish(figure, panels, record, np.stack([mean - std, mean + std]), "labelled class", "edge weight, mean ± std of samples")
    return figure


def edges_by_epoch(record: EdgeRecord, training: ByEpoch, epochs: Array, task: Task, title: str, kept: int | None) -> Figure:
    """Draw one panel an edge of one space: mean weight of each class of the validation split by epoch, and the prior as a line.

    Args:
        record: edges of the space, with ``validation_by_class``.
        training: the classes of ``validation_by_class``.
        epochs: (epochs,) numbers of the epochs.
        task: the kind of label.
        title: title of the figure.
        kept: the epoch whose weights were kept.
    """
    by_class = np.asarray(record.validation_by_class)
    n = min(len(epochs), len(by_class))
    there = np.flatnonzero(training.share > 0)
    with drawing():
        figure, panels = _panels(record, title)
        for e, axes in enumerate(panels):
            for c in there:
                number = int(training.classes[c])
                shown: Any = SENTIMENT((number + 3) / 6) if task == "regression" else PALETTE[number % len(PALETTE)]
                marker = "." if n < 3 else None
                axes.plot(epochs[:n], by_class[:n, c, e], color=shown, marker=marker, label=f"class {class_name(number, task)}")
            epochs_axis(axes, kept)
        _finish(figure, panels, record, by_class[:n, there], "epoch", "edge weight, mean of validation")
    return figure


def _panels(record: EdgeRecord, title: str) -> tuple[Figure, list[Axes]]:
    n = len(record.pairs)
    columns = min(n, _COLUMNS)
    rows = math.ceil(n / columns)
    figure = new_figure(max(1.5 * columns + 0.5, 6.0), 2.1 * rows + 1.0, title)
    grid = list(figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat)
    for spare in grid[n:]:
        spare.set_visible(False)
    return figure, grid[:n]


def _finish(figure: Figure, panels: list[Axes], record: EdgeRecord, drawn: Array, x: str, y: str) -> None:
    ends = limits(drawn, record.prior)
    panels[0].set_ylim(ends)  # limits of all panels, because the axis is shared
    panels[0].ticklabel_format(axis="y", useOffset=False)
    beyond = []
    for e, (axes, (teacher, student)) in enumerate(zip(panels, record.pairs, strict=True)):
        axes.set_title(f"{teacher} → {student}", loc="left", fontsize=7.5)
        if record.prior is not None:
            beyond.append(mark_prior(axes, float(record.prior[e]), ends))
        if e >= len(panels) - _COLUMNS:  # the lowest panel of each column
            axes.set_xlabel(x)
            axes.tick_params(labelbottom=True)
    figure.supylabel(y, fontsize=8)
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True) if label != "prior"
    }
    shown = [*handles.values(), *([key(dashed=True, beyond=any(beyond))] if beyond else [])]
    if shown:
        columns = min(len(shown), 9, int((figure.get_figwidth() - (2.6 if any(beyond) else 1.6)) / 0.95))  # the longest name is the prior's
        figure.legend(handles=shown, loc="outside lower center", ncols=columns)
