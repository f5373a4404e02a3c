"""A row of a forest plot: a difference and its interval on a scale that all rows share."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from dhmd.evaluation.statistics import Difference
from dhmd.report.svg import drawing, element, line, number, short, text, ticks

WIDTH, HEIGHT = 300.0, 24.0
_EDGE = 18.0


def scale(differences: Sequence[Difference], factor: float) -> tuple[float, float]:
    """The ends of the axis: 0 and every interval are on it."""
    ends = [0.0]
    for found in differences:
        ends += [found.mean, *((found.interval.low, found.interval.high) if found.interval else ())]
    low, high = min(ends) * factor, max(ends) * factor
    room = 0.04 * (high - low) or 1e-3
    return low - room, high + room


def interval_mark(label: str, found: Difference, ends: tuple[float, float], factor: float, side: str) -> Markup:
    """The difference as a dot, its interval as a bar, 0 as a line; ``side`` is better, worse or even."""
    middle = HEIGHT / 2
    parts = [line(_across(0, ends), 0, _across(0, ends), HEIGHT, "zero")]
    if found.interval:
        low, high = (_across(factor * x, ends) for x in (found.interval.low, found.interval.high))
        caps = f"M{number(low)} {middle - 4}v8M{number(low)} {middle}H{number(high)}M{number(high)} {middle - 4}v8"
        parts.append(element("path", d=caps, class_=f"interval {side}"))
    parts.append(element("circle", cx=_across(factor * found.mean, ends), cy=middle, r=4, class_=f"estimate {side}"))
    return drawing(WIDTH, HEIGHT, label, *parts, kind="forest")


def axis(ends: tuple[float, float]) -> Markup:
    """The scale below the rows."""
    parts = [line(_EDGE, 1, WIDTH - _EDGE, 1, "axis")]
    for tick in ticks(*ends, 5):
        x = _across(tick, ends)
        parts += [line(x, 1, x, 5, "axis"), text(x, 17, short(tick), anchor="middle")]
    return drawing(WIDTH, 20, f"axis from {short(ends[0])} to {short(ends[1])}", *parts, kind="forest")


def _across(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return _EDGE + (WIDTH - 2 * _EDGE) * (value - low) / (high - low)
