"""Learned edges of the Graph Distillation Units, beside their prior."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from numpy.typing import NDArray

from dhmd.analysis.edge_scale import NAME, limits
from dhmd.analysis.style import colours, drawing, epochs_axis, new_figure
from dhmd.runs.arrays import EdgeRecord

Pairs = Sequence[tuple[str, str]]
_RADIUS = 0.36
_BEND = 0.18


def edge_graphs(edges: Mapping[str, EdgeRecord], title: str, split: str = "test") -> Figure:
    """Draw the mean learned weights over the samples as a directed graph with the prior beside it, one row a space.

    Arrows point from teacher to student; their width is the weight, their colour the teacher's.

    Args:
        edges: edges of each space; absent weights or an absent prior are replaced by a word.
        title: title of the figure.
        split: the split of the samples.
    """
    with drawing():
        figure = new_figure(6.4, 2.75 * len(edges) + 0.4, title)
        grid = figure.subplots(len(edges), 2, squeeze=False)
        for row, (space, record) in zip(grid, edges.items(), strict=True):
            learned = None if record.weights is None else record.weights.mean(axis=0)
            _graph(row[0], record.pairs, learned, f"{space}: learned, mean of the {split} set")
            _graph(row[1], record.pairs, record.prior, f"{space}: {NAME}")
    return figure


def edge_history(edges: Mapping[str, EdgeRecord], epoch: NDArray[Any], title: str, chosen: int | None = None) -> Figure:
    """Draw the mean validation weight of each edge by epoch, one panel a space, with the prior in a narrow panel beside it.

    The scale is that of the weights; a prior beyond it is drawn on its own scale.

    Args:
        edges: edges of each space that has learned weights.
        epoch: (epochs,).
        title: title of the figure.
        chosen: the epoch whose weights were kept.
    """
    seen = {space: record.validation[: len(epoch)] for space, record in edges.items() if record.validation is not None}
    priors = [record.prior for record in edges.values() if record.prior is not None]
    prior = np.concatenate(priors) if priors else None
    ends = limits(np.concatenate([weights.ravel() for weights in seen.values()]), prior)
    own = prior is not None and not (ends[0] <= prior.min() and prior.max() <= ends[1])
    if own:
        ends = limits(np.concatenate([weights.ravel() for weights in seen.values()]), None)
    widths = [width for space in seen for width in ((1.0,) if edges[space].prior is None else (1.0, 0.22))]
    with drawing():
        figure = new_figure(3.0 * sum(widths) + 2.0, 3.2, title)
        panels = iter(figure.subplots(1, len(widths), squeeze=False, width_ratios=widths)[0])
        for space, weights in seen.items():
            record, axes = edges[space], next(panels)
            n = min(len(epoch), len(weights))  # a run stopped while writing may have one more of either
            _history(axes, record, weights[:n], epoch[:n])
            axes.set_title(space, loc="left")
            axes.set_xlabel("epoch")
            epochs_axis(axes, chosen)
            axes.set_ylim(ends)
            axes.ticklabel_format(axis="y", useOffset=False)
            if record.prior is not None and prior is not None:
                _prior(next(panels), record, (0.0, max(1.08 * float(prior.max()), 0.01)) if own else ends, own)
        first = figure.axes[0]
        first.set_ylabel("edge weight, mean of validation")
        figure.legend(*first.get_legend_handles_labels(), loc="outside right center", title="teacher → student")
    return figure


def _styles(pairs: Pairs) -> list[tuple[str, str]]:
    """Return line style and colour of each edge: a colour a teacher, a dash pattern a student."""
    colour = colours(_nodes(pairs))
    drawn: dict[str, int] = {}
    styles = []
    for teacher, _ in pairs:
        styles.append((("-", "--", "-.", ":")[drawn.get(teacher, 0) % 4], colour[teacher]))
        drawn[teacher] = drawn.get(teacher, 0) + 1
    return styles


def _history(axes: Axes, record: EdgeRecord, weights: NDArray[Any], epoch: NDArray[Any]) -> None:
    marker = "." if len(epoch) < 3 else None
    for i, ((teacher, student), (style, colour)) in enumerate(zip(record.pairs, _styles(record.pairs), strict=True)):
        axes.plot(epoch, weights[:, i], style, color=colour, marker=marker, label=f"{teacher} → {student}")


def _prior(axes: Axes, record: EdgeRecord, ends: tuple[float, float], own: bool) -> None:
    """Draw the prior as one bar an edge, side by side, because several may be equal."""
    for i, (value, (_, colour)) in enumerate(zip(np.asarray(record.prior), _styles(record.pairs), strict=True)):
        axes.plot([i - 0.45, i + 0.45], [value, value], color=colour, linewidth=3, solid_capstyle="butt")
    axes.set_xticks([])
    axes.set_xlabel(NAME.replace("the ", "the\n") + (",\nown scale" if own else ""), fontsize=7)
    axes.set_ylim(ends)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    if own:
        axes.yaxis.tick_right()
        axes.spines["left"].set_visible(False)
        axes.spines["right"].set_visible(True)
    else:
        axes.tick_params(labelleft=False)


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
    across = np.array([along[1], -along[0]])  # to the right of the way, where arc3 bends with a positive rad
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
    """Return the modalities in the order of the students, by which edges are sorted."""
    return list(dict.fromkeys([student for _, student in pairs] + [teacher for teacher, _ in pairs]))


def _polygon(names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Return the corners of a regular polygon, the first on top, then clockwise; two corners lie side by side."""
    first = math.pi if len(names) == 2 else math.pi / 2
    angles = [first - 2 * math.pi * i / len(names) for i in range(len(names))]
    return {name: (math.cos(a), math.sin(a)) for name, a in zip(names, angles, strict=True)}
