"""Values by epoch as lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from dhmd.analysis.activations import Array
from dhmd.report.svg import drawing, element, line, number, polyline, short, text, ticks


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes:
        name: name in the legend.
        values: (n,) values, NaN for a missing one.
        kind: its class in the style sheet: a colour, and for more than one of a colour a dash pattern.
        mark: value drawn beside the right end: the prior of an edge.
    """

    name: str
    values: Array
    kind: str
    mark: float | None = None


def line_chart(
    label: str,
    x: Array,
    lines: Sequence[Line],
    *,
    kept: float | None = None,
    prior: float | None = None,
    size: tuple[float, float] = (220, 140),
    from_zero: bool = False,
) -> Markup:
    """Draw lines over epochs, with a dotted line at the epoch that was kept.

    Args:
        label: description of the picture in words.
        x: (n,) numbers of the epochs.
        lines: lines of n values each.
        kept: the epoch that was kept.
        prior: a value for comparison with all lines, drawn across.
        size: size of the view box.
        from_zero: whether the axis begins at 0.
    """
    width, height = size
    marks = [value for value in (prior, *(one.mark for one in lines)) if value is not None]
    left, right, top, bottom = 44.0, width - (18 if any(one.mark is not None for one in lines) else 8), 8.0, height - 20
    finite = np.concatenate([[0.0] if from_zero else [], marks, *(one.values[np.isfinite(one.values)] for one in lines)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    if high <= low:
        low, high = low - abs(low) * 0.1 - 1e-6, high + abs(high) * 0.1 + 1e-6
    first, last = float(x.min(initial=0)), float(x.max(initial=1))

    def across(value: float) -> float:
        return left + (right - left) * (value - first) / max(last - first, 1e-9)

    def up(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    parts = []
    for tick in ticks(low, high, 3):
        parts += [line(left, up(tick), right, up(tick), "grid"), text(left - 4, up(tick) + 3.5, short(tick), anchor="end")]
    parts += [text(across(tick), height - 5, short(tick), anchor="middle") for tick in ticks(first, last, 4) if tick == round(tick)]
    if kept is not None:
        parts.append(line(across(kept), top, across(kept), bottom, "kept"))
    if prior is not None:
        parts.append(line(left, up(prior), right, up(prior), "prior-line"))
    for one in lines:
        points = [(across(float(a)), up(float(b))) for a, b in zip(x, one.values, strict=False)]
        parts.append(element("path", d=polyline(points), class_=f"line {one.kind}"))
        if len(points) < 3:
            parts += [element("circle", cx=a, cy=b, r=2.5, class_=f"dot {one.kind}") for a, b in points if np.isfinite(b)]
        if one.mark is not None:
            parts.append(element("path", d=f"M{number(right + 3)} {number(up(one.mark))}h12", class_=f"prior {one.kind}"))
    return drawing(width, height, label, *parts)
