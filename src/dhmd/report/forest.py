"""Rows of a forest plot: a difference and its interval on a scale that all rows share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from dhmd.evaluation.statistics import Interval
from dhmd.report.svg import drawing, element, line, number, short, text, ticks

WIDTH, HEIGHT = 300.0, 24.0
_EDGE = 18.0


@dataclass(frozen=True)
class Estimate:
    """A difference to draw.

    Attributes:
        mean: the difference.
        interval: interval of the difference; None without one.
        side: "better" or "worse" if the interval does not contain 0, else "even".
    """

    mean: float
    interval: Interval | None
    side: str


def scale(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Return the ends of an axis that includes 0 and every interval."""
    ends = [0.0]
    for found in estimates:
        ends += [found.mean, *((found.interval.low, found.interval.high) if found.interval else ())]
    room = 0.04 * (max(ends) - min(ends)) or 1e-3
    return min(ends) - room, max(ends) + room


def interval_mark(label: str, found: Estimate, ends: tuple[float, float]) -> Markup:
    """Draw the difference as a dot, its interval as a bar, 0 as a line."""
    middle = HEIGHT / 2
    parts = [line(_across(0, ends), 0, _across(0, ends), HEIGHT, "zero")]
    if found.interval:
        low, high = number(_across(found.interval.low, ends)), number(_across(found.interval.high, ends))
        top, half = number(middle - 4), number(middle)
        parts.append(element("path", d=f"M{low} {top}v8M{low} {half}H{high}M{high} {top}v8", class_=f"interval {found.side}"))
    parts.append(element("circle", cx=_across(found.mean, ends), cy=middle, r=4, class_=f"estimate {found.side}"))
    return drawing(WIDTH, HEIGHT, label, *parts, kind="forest")


def axis(ends: tuple[float, float]) -> Markup:
    """Draw the scale below the rows."""
    parts = [line(_EDGE, 1, WIDTH - _EDGE, 1, "axis")]
    for tick in ticks(*ends, 5):
        x = _across(tick, ends)
        parts += [line(x, 1, x, 5, "axis"), text(x, 17, short(tick), anchor="middle")]
    return drawing(WIDTH, 20, f"axis from {short(ends[0])} to {short(ends[1])}", *parts, kind="forest")


def _across(value: float, ends: tuple[float, float]) -> float:
    low, high = ends
    return _EDGE + (WIDTH - 2 * _EDGE) * (value - low) / (high - low)
