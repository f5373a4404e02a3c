"""Style of all figures: colours that colour-blind readers can distinguish, no global state, reproducible files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dhmd.batch import MODALITIES, Task
from dhmd.files import atomic_path

# Okabe and Ito's palette, without its yellow, which is too light on white
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
SENTIMENT = LinearSegmentedColormap.from_list("sentiment", ["#B2182B", "#F4A582", "#9A9A9A", "#92C5DE", "#2166AC"])
"""Colours of sentiment: negative red, neutral grey, positive blue."""

_RC: Any = {  # some versions of matplotlib's stubs want its 300 keys as literals
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.grid": False,
    "grid.color": "#E5E5E5",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.titlesize": 10,
    "lines.linewidth": 1.3,
    "svg.hashsalt": "dhmd",  # else ids in the file are random
}


@contextmanager
def drawing() -> Iterator[None]:
    """Apply the style to everything drawn inside the block."""
    with matplotlib.rc_context(_RC):
        yield


def new_figure(width: float, height: float, title: str) -> Figure:
    """Return an empty figure on the Agg canvas, sized in inches, without a window."""
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    letters = int(width / 0.072)  # characters of the title's font on a line
    figure.suptitle("\n".join(part for line in title.split("\n") for part in textwrap.wrap(line, letters)))
    return figure


def colours(names: Sequence[str]) -> dict[str, str]:
    """Return a colour for each modality: the papers' three always the same, others from the rest of the palette."""
    others = [name for name in names if name not in MODALITIES]
    order = [*MODALITIES, *others]
    return {name: PALETTE[order.index(name) % len(PALETTE)] for name in names}


def epochs_axis(axes: Axes, chosen: int | None) -> None:
    """Draw whole numbers below, a light grid, and a dotted line at the epoch whose weights were kept."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    if chosen is not None:
        axes.axvline(chosen, color="#777777", linewidth=0.9, linestyle=":", label="epoch kept")


def class_name(number: int, task: Task) -> str:
    """Return the name of a class for readers: sentiment with its sign."""
    return f"{number:+d}".replace("-", "\N{MINUS SIGN}") if task == "regression" and number else str(number)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name``.png (200 dpi) and ``name``.svg atomically; the same figure gives the same bytes.

    Raises:
        OSError: the folder cannot be written.
    """
    written = []
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        path = folder / f"{name}.{kind}"
        with atomic_path(path) as part, drawing():
            figure.savefig(part, format=kind, dpi=200, metadata=metadata)
        written.append(path)
    return written
