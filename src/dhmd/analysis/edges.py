"""What the Graph Distillation Units learnt: who teaches whom, beside the prior they were given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from numpy.typing import NDArray

from dhmd.analysis.style import colours, drawing, epochs_axis, new_figure
from dhmd.evaluation.record import EdgeRecord

Pairs = Sequence[tuple[str, str]]
_RADIUS = 0.36
_BEND = 0.18


def edge_graphs(edges: Mapping[str, EdgeRecord], title: str, split: str = "test") -> Figure:
    """One row a space: the mean learned weights over the samples as a directed graph, and the prior beside it.

    Arrows point from teacher to student, their width is the weight, their colour the teacher's.

    Args:
        edges: by space; absent weights or an absent prior leave their place empty, with a word in it.
        title: above the figure.
        split: which the samples are.
    """
    with drawing():
        figure = new_figure(6.4, 2.75 * len(edges) + 0.4, title)
        grid = figure.subplots(len(edges), 2, squeeze=False)
        for row, (space, record) in zip(grid, edges.items(), strict=True):
            learned = None if record.test is None else record.test.mean(axis=0)
            _graph(row[0], record.pairs, learned, f"{space}: learned, mean of the {split} set")
            _graph(row[1], record.pairs, record.prior, f"{space}: prior")
    return figure


def edge_history(edges: Mapping[str, EdgeRecord], epoch: NDArray[Any], title: str, chosen: int | None = None) -> Figure:
    """Mean validation weight of each edge by epoch, one panel a space; dashes at the right mark the prior.

    Args:
        edges: by space, those with learned weights.
        epoch: (epochs,).
        title: above the figure.
        chosen: the epoch whose weights were kept.
    """
    with drawing():
        figure = new_figure(3.6 * len(edges) + 1.2, 3.0, title)
        panels = figure.subplots(1, len(edges), squeeze=False, sharey=True)[0]
        for axes, (space, record) in zip(panels, edges.items(), strict=True):
            if record.validation is not None:
                n = min(len(epoch), len(record.validation))  # a run stopped while writing may have one more of either
                _history(axes, record, record.validation[:n], epoch[:n])
            axes.set_title(space, loc="left")
            axes.set_xlabel("epoch")
            epochs_axis(axes, chosen)
        panels[0].set_ylim(bottom=0)  # of all, as the axis is shared, and when all is drawn
        panels[0].set_ylabel("edge weight, mean of validation")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", title="teacher → student\n(marks at the right\nedge: the prior)")
    return figure


def _history(axes: Axes, record: EdgeRecord, weights: NDArray[Any], epoch: NDArray[Any]) -> None:
    colour = colours(_nodes(record.pairs))
    drawn: dict[str, int] = {}
    for i, (teacher, student) in enumerate(record.pairs):
        style = ("-", "--", "-.", ":")[drawn.get(teacher, 0) % 4]  # a colour a teacher, a dash pattern a student
        drawn[teacher] = drawn.get(teacher, 0) + 1
        marker = "." if len(epoch) < 3 else None
        axes.plot(epoch, weights[:, i], style, color=colour[teacher], marker=marker, label=f"{teacher} → {student}")
        if record.prior is not None:
            step = min(0.014, 0.168 / len(record.pairs))
            at = [1.005 + step * i, 1.003 + step * (i + 1)]  # side by side, for equal priors
            beside = axes.get_yaxis_transform()
            axes.plot(at, [record.prior[i]] * 2, color=colour[teacher], linewidth=3, solid_capstyle="butt", transform=beside, clip_on=False)


def _graph(axes: Axes, pairs: Pairs, weights: NDArray[Any] | None, title: str) -> None:
    axes.set_title(title)
    axes.set_aspect("equal")
    axes.set_axis_off()
    axes.set_xlim(-1.5, 1.5)
    names = _nodes(pairs)
    colour, place = colours(names), _polygon(names)
    axes.set_ylim(min(-1.0, *(y - _RADIUS - 0.06 for _, y in place.values())), 1.42)
    if weights is None:
        axes.text(0, 0, "none", ha="center", va="center", color="#777777")
        return
    for (teacher, student), weight in sorted(zip(pairs, weights, strict=True), key=lambda edge: float(edge[1])):
        _arrow(axes, np.array(place[teacher]), np.array(place[student]), float(weight), colour[teacher])
    for name, centre in place.items():
        axes.add_patch(Circle(centre, _RADIUS, facecolor="white", edgecolor=colour[name], linewidth=2, zorder=3))
        axes.text(*centre, name, ha="center", va="center", color=colour[name], fontsize=7.5, fontweight="bold", zorder=4)


def _arrow(axes: Axes, start: NDArray[Any], end: NDArray[Any], weight: float, colour: str) -> None:
    along = (end - start) / np.linalg.norm(end - start)
    across = np.array([along[1], -along[0]])  # to the right of the way, where arc3 bends to with a positive rad
    shift = 0.09 * across
    width = 0.5 + 9 * weight
    axes.add_patch(
        FancyArrowPatch(
            tuple(start + (_RADIUS + 0.04) * along + shift),
            tuple(end - (_RADIUS + 0.06) * along + shift),
            connectionstyle=f"arc3,rad={_BEND}",
            arrowstyle=f"-|>,head_length={4 + 0.5 * width},head_width={2 + 0.45 * width}",
            linewidth=width,
            color=colour,
            alpha=0.35 + 0.65 * min(1.0, 3 * weight),
            shrinkA=0,
            shrinkB=0,
            zorder=2,
        )
    )
    x, y = (start + end) / 2 + shift + _BEND / 2 * (np.linalg.norm(end - start) - 2 * _RADIUS - 0.1) * across  # the curve's middle
    box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.9}
    axes.text(x, y, f"{weight:.2f}", ha="center", va="center", fontsize=7.5, color=colour, bbox=box, zorder=5)


def _nodes(pairs: Pairs) -> list[str]:
    """Modalities in the order of the students, which edges are sorted by."""
    return list(dict.fromkeys([student for _, student in pairs] + [teacher for teacher, _ in pairs]))


def _polygon(names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Corners of a regular polygon, the first on top, then clockwise; two side by side."""
    first = math.pi if len(names) == 2 else math.pi / 2
    angles = [first - 2 * math.pi * i / len(names) for i in range(len(names))]
    return {name: (math.cos(a), math.sin(a)) for name, a in zip(names, angles, strict=True)}
