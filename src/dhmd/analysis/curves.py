"""Every loss term and every metric by epoch, as small multiples."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dhmd.analysis.style import PALETTE, drawing, epochs_axis, new_figure
from dhmd.evaluation.metrics import LABELS, NOT_A_SHARE

SPLITS = {"train": PALETTE[0], "validation": PALETTE[1]}
_COLUMNS = 6


def loss_curves(history: Mapping[str, NDArray[Any]], title: str, chosen: int | None = None) -> Figure:
    """Draw unweighted loss terms of training and validation by epoch, one panel a term, each on its own scale.

    Args:
        history: columns "epoch", "train/<term>", "validation/<term>", each (epochs,); metrics among them are left out.
        title: title of the figure.
        chosen: the epoch whose weights were kept.
    """
    terms = _terms(history)
    with drawing():
        figure, panels = _panels(len(terms), title)
        for axes, term in zip(panels, terms, strict=True):
            for split, colour in SPLITS.items():
                if f"{split}/{term}" in history:
                    _line(axes, history["epoch"], history[f"{split}/{term}"], colour, split)
            axes.set_title(_spoken(term), loc="left", fontsize=7.5)
            epochs_axis(axes, chosen)
        _finish(figure, panels)
    return figure


def metric_curves(history: Mapping[str, NDArray[Any]], title: str, chosen: int | None = None) -> Figure:
    """Draw validation metrics and the learning rate by epoch, one panel each; shares in percent.

    Args:
        history: columns "epoch", "lr", "validation/<metric>", each (epochs,).
        title: title of the figure.
        chosen: the epoch whose weights were kept.
    """
    keys = [key for key in LABELS if f"validation/{key}" in history]
    with drawing():
        figure, panels = _panels(len(keys) + ("lr" in history), title)
        for axes, key in zip(panels, keys, strict=False):
            share = key not in NOT_A_SHARE
            _line(axes, history["epoch"], history[f"validation/{key}"] * (100 if share else 1), SPLITS["validation"], "validation")
            axes.set_title(LABELS[key] + (", %" if share else ""), loc="left")
        if "lr" in history:
            panels[-1].step(history["epoch"], history["lr"], where="post", color="#555555")
            panels[-1].yaxis.set_major_formatter(lambda value, _: f"{value:.2g}")
            panels[-1].set_ylim(bottom=0)
            panels[-1].set_title("learning rate", loc="left")
        for axes in panels:
            epochs_axis(axes, chosen)
        _finish(figure, panels)
    return figure


def _terms(history: Mapping[str, NDArray[Any]]) -> list[str]:
    """Return the names of the loss terms, the total first, in the order of the file."""
    named = [name.split("/", 1)[1] for name in history if name.startswith(("train/", "validation/"))]
    terms = [term for term in dict.fromkeys(named) if term not in LABELS]
    return sorted(terms, key=lambda term: term != "total")


def _spoken(term: str) -> str:
    words = term.replace("homogeneous", "homo.").replace("heterogeneous", "hetero.").replace("_", " ")
    return "\n".join(textwrap.wrap(words, 26))


def _panels(n: int, title: str) -> tuple[Figure, list[Axes]]:
    rows = math.ceil(n / _COLUMNS)
    columns = math.ceil(n / rows)  # rows of one length, or one less in the last
    figure = new_figure(1.75 * columns + 0.2, 1.4 * rows + 0.8, title)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    panels = list(grid.flat)
    for spare in panels[n:]:
        spare.set_visible(False)
    return figure, panels[:n]


def _line(axes: Axes, epoch: NDArray[Any], value: NDArray[Any], colour: str, label: str) -> None:
    axes.plot(epoch, value, color=colour, label=label, marker="." if np.size(epoch) < 3 else None)
    axes.ticklabel_format(axis="y", useOffset=False)


def _finish(figure: Figure, panels: Sequence[Axes]) -> None:
    columns = math.ceil(len(panels) / math.ceil(len(panels) / _COLUMNS))
    for axes in panels[-columns:]:  # the lowest panel of each column
        axes.set_xlabel("epoch")
        axes.tick_params(labelbottom=True)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
