"""Points in a plane, a path a colour."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from dhmd.analysis.activations import Array
from dhmd.report.svg import drawing, element, number

SIZE = 300.0
_EDGE = 8.0


def scatter(label: str, points: Array, kinds: Sequence[str]) -> Markup:
    """Draw points (P, 2) in one scale for both directions, each with the class of the style sheet that gives its colour."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = float((high - low).max()) or 1.0
    placed = (points - (low + high) / 2) / span * (SIZE - 2 * _EDGE) + SIZE / 2
    parts = []
    chosen = np.array(kinds)
    for kind in dict.fromkeys(kinds):
        d = "".join(f"M{number(x)} {number(SIZE - y)}h0" for x, y in placed[chosen == kind].tolist())
        parts.append(element("path", d=d, class_=f"points {kind}"))
    return drawing(SIZE, SIZE, label, *parts)
