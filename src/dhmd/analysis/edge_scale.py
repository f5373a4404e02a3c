"""A scale for edge weights that keeps them readable, however far from them the prior lies."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dhmd.analysis.activations import Array

PRIOR = "#333333"
NAME = "prior of the configuration"
BEYOND = f"{NAME} (arrow: beyond the axis)"
_LEAST = 1e-3  # less than this is not a difference between weights


def limits(weights: Array, prior: Array | None) -> tuple[float, float]:
    """The ends of an axis around weights, and around those priors no farther from them than they reach themselves.

    Args:
        weights: of any shape, in [0, 1], at least one.
        prior: (E,), None for none.

    Returns:
        Both ends; the lower one is 0 where the weights come near it.
    """
    low, high = float(np.min(weights)), float(np.max(weights))
    span = max(high - low, _LEAST)
    given = np.empty(0) if prior is None else np.asarray(prior, np.float64)
    near = given[(given >= low - span) & (given <= high + span)]
    low, high = min([low, *near]), max([high, *near])
    span = max(high - low, _LEAST)
    above, below = (given > high).any(), (given < low).any()  # room for the arrows
    bottom = low - (0.2 if below else 0.06) * span
    return (0.0 if low < 0.25 * span and not below else max(bottom, -0.2 * span)), high + (0.2 if above else 0.06) * span


def mark_prior(axes: Axes, prior: float, ends: tuple[float, float], between: tuple[float, float] | None = None) -> bool:
    """A line where the prior is, or an arrow to it with its value where it lies beyond the axis.

    Args:
        axes: whose y axis has these ends.
        prior: of one edge.
        ends: from `limits`.
        between: from which x to which; None for all of the panel.

    Returns:
        Whether it lies beyond.
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
    """The prior's entry of a legend."""
    return Line2D([], [], color=PRIOR, linewidth=1.2, linestyle="--" if dashed else "-", label=BEYOND if beyond else NAME)
