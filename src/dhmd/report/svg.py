"""Elements of SVG, written as text: everything escaped, numbers short, colours left to the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

SERIES = 7
"""Number of colours of the style sheet for modalities, splits and classes: m0 to m6."""


def number(value: float) -> str:
    """Return a number with at most one decimal: a tenth of a unit of the view box is invisible."""
    text = f"{value:.1f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Return an element; an attribute's trailing underscore is dropped, its other underscores become hyphens, and None omits it."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value if isinstance(value, str) else number(value))
        for key, value in attributes.items()
        if value is not None
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(escape(child) for child in children))


def drawing(width: float, height: float, label: str, *children: str, kind: str = "chart", scale: float | None = None) -> Markup:
    """Return a whole picture with the width of its container, or at a fixed ``scale``; ``label`` is its text for screen readers."""
    box = f"0 0 {number(width)} {number(height)}"
    shown = None if scale is None else scale * width
    return element("svg", *children, class_=kind, viewBox=box, width=shown, role="img", aria_label=label)


def text(x: float, y: float, content: str, *, anchor: str = "start", kind: str | None = None, turned: bool = False) -> Markup:
    """Return a line of text; ``turned`` reads upwards."""
    turn = f"rotate(-90 {number(x)} {number(y)})" if turned else None
    return element("text", content, x=x, y=y, text_anchor=anchor if anchor != "start" else None, class_=kind, transform=turn)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Return the d attribute of a path through points; a point that is not finite interrupts it."""
    parts, pen = [], "M"
    for x, y in points:
        if math.isfinite(x) and math.isfinite(y):
            parts.append(f"{pen}{number(x)} {number(y)}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def ticks(low: float, high: float, n: int = 4) -> list[float]:
    """Return about ``n`` round numbers between two ends; equal ends give that number."""
    if not high > low:
        return [low]
    rough = (high - low) / n
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * size for factor in (1, 2, 5, 10) if factor * size >= rough * 0.7)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def short(value: float) -> str:
    """Return a number for an axis, as short text."""
    written = f"{value:.0e}" if 0 < abs(value) < 1e-3 else f"{value:.3g}"
    return written.replace("-", "\N{MINUS SIGN}").replace("e+0", "e").replace("e\N{MINUS SIGN}0", "e\N{MINUS SIGN}")
