"""Matrices as coloured cells: a path for each of nine levels, so that thousands of cells stay small."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from dhmd.analysis.activations import Array
from dhmd.report.svg import drawing, element, number, text

LEVELS = 9
_TEXT_TURNS = 6
"""Lowest level at which a number in a cell is written in the colour of the ground."""


@dataclass(frozen=True)
class Cells:
    """Layout of a matrix.

    Attributes:
        width: width of a cell.
        height: height of a cell.
        left: space for the names of the rows.
        bottom: space for the names of the columns.
        turned: whether the names of the columns read upwards.
    """

    width: float = 34
    height: float = 26
    left: float = 36
    bottom: float = 20
    turned: bool = False


def heat_map(
    label: str,
    values: Array,
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    highest: float,
    cells: Cells,
    written: Array | None = None,
    scale: float | None = None,
) -> Markup:
    """Draw a matrix; cells that are 0 are left empty.

    Args:
        label: description of the picture in words.
        values: (R, C), not negative.
        rows: R names of rows.
        columns: C names of columns; empty for none.
        highest: value of the darkest colour.
        cells: the layout.
        written: (R, C) whole numbers to write into the cells.
        scale: fixed size of the picture; None for the full width of its container.
    """
    level = np.ceil(LEVELS * np.clip(values / (highest or 1.0), 0, 1) - 1e-9).astype(int)
    parts = [element("path", d=_squares(level == step, cells), class_=f"h{step}") for step in range(1, LEVELS + 1) if (level == step).any()]
    height = len(rows) * cells.height
    width = cells.left + values.shape[1] * cells.width
    parts.append(element("path", d=f"M{number(cells.left)} 0H{number(width)}V{number(height)}H{number(cells.left)}Z", class_="frame"))
    parts += [text(cells.left - 4, (i + 0.5) * cells.height + 3.5, name, anchor="end") for i, name in enumerate(rows)]
    for j, name in enumerate(columns):
        x = cells.left + (j + 0.5) * cells.width
        if cells.turned:
            parts.append(text(x + 3, height + 4, name, anchor="end", kind="small", turned=True))
        else:
            parts.append(text(x, height + 14, name, anchor="middle"))
    if written is not None:
        for i, j in np.ndindex(*written.shape):
            x, y = cells.left + (j + 0.5) * cells.width, (i + 0.5) * cells.height + 4
            parts.append(text(x, y, str(written[i, j]), anchor="middle", kind="on" if level[i, j] >= _TEXT_TURNS else None))
    return drawing(
        math.ceil(width) + 1,
        height + (cells.bottom if columns else 2),
        label,
        *parts,
        kind="chart" if scale is None else "long",
        scale=scale,
    )


def _squares(mask: Array, cells: Cells) -> str:
    w, h = number(cells.width), number(cells.height)
    return "".join(
        f"M{number(cells.left + j * cells.width)} {number(i * cells.height)}h{w}v{h}h-{w}z" for i, j in np.argwhere(mask).tolist()
    )
