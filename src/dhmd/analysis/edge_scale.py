"""An axis scale for edge weights that stays readable if the prior is far from the weights."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dhmd.analysis.activations import Array

PRIOR = "#333333"
NAME = "prior of the configuration"
BEYOND = f"{NAME} (arrow: beyond the axis)"
_LEAST = 1e-3  # smaller differences between weights do not count


def limits(weights: Array, prior: Array | None) -> tuple[float, float]:
    """Return the ends of an axis around the weights and around the priors that are no farther from them than the weights' own range.

    Args:
        weights: one or more values of any shape, in [0, 1].
        prior: (E,), None for none.

    Returns:
        Both ends; the lower one is 0 if the weights come near it.
    """
    low, high = float(np.min(weights)), float(np.max(weights))
    span = max(high - low, _LEAST)
    given = np.empty(0) if prior is None else np.asarray(prior, np.float64)
    near = given[(given >= low - span) & (given <= high + span)]
    low, high = min([low, *near]), max([high, *near])
    span = max(high - low, _LEAST)
    above, below = (given > high).any(), (given < low).any()  # margin for the arrows
    bottom = low - (0.2 if below else 0.06) * span
    return (0.0 if low < 0.25 * span and not below else max(bottom, -0.2 * span)), high + (0.2 if above else 0.06) * span


def mark_prior(axes: Axes, prior: float, ends: tuple[float, float], between: tuple[float, float] | None = None) -> bool:
    """Draw a line at the prior, or an arrow towards it with its value if it lies beyond the axis.

    Args:
        axes: axes whose y axis has these ends.
        prior: prior of one edge.
        ends: ends of the axis, from `limits`.
        between: first and last x of the line; None for the whole panel.

    Returns:
        True if the prior lies beyond the axis.
    """
    style: dict[str, object] = {"color": PRIOR, "label": "prior"}
    if ends[0] <= prior <= ends[1]:
        if between is None:
            axes.axhline(prior, linewidth=1.0, linestyle="--", **style)  # type: ignore[arg-type, unused-ignore]
        else:
            axes.plot(between, [prior, prior], linewidth=1.2, solid_capstyle="butt", **style)  # type: ignore[arg-type, unused-ignore]
        return False
    above = prior > ends[1]
    words = f"{'↑' if above else '↓'} {'prior ' if between is None else ''}{prior:.2g}"
    x, transform = (0.5, axes.transAxes) if between is None else (sum(between) / 2, axes.get_xaxis_transform())
    axes.text(
        x, 0.985 if above else 0.015, words, transform=transform, ha="center", va="top" if above else "bottom", fontsize=6.5, color=PRIOR
    )
    return True


def key(dashed: bool, beyond: bool) -> Line2D:
    """Return the legend handle of the prior."""
    return Line2D([], [], color=PRIOR, linewidth=1.2, linestyle="--" if dashed else "-", label=BEYOND if beyond else NAME)
