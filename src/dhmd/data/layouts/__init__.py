"""The layouts feature files come in, one class a file; which one a file has is seen from its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dhmd.data.layouts.folder import NpyFolder
from dhmd.data.layouts.layout import KEYS, SPLITS, Canonical, Layout
from dhmd.data.layouts.mmsa import Mmsa
from dhmd.data.layouts.mult import MulT
from dhmd.data.layouts.multibench import MultiBench
from dhmd.data.layouts.sims import Sims
from dhmd.data.problem import problem

__all__ = ["KEYS", "LAYOUTS", "SPLITS", "Canonical", "Layout", "layout_of"]

LAYOUTS: dict[str, Layout] = {x.name: x for x in (NpyFolder(), Sims(), MultiBench(), MulT(), Mmsa())}
"""By name; the first that fits a content is taken."""


def layout_of(content: Any, path: Path, name: str | None = None) -> Layout:
    """The layout of a content.

    Args:
        content: what was read.
        path: its file, for messages.
        name: of the layout it must have; None to see.

    Raises:
        DataError: the content has not the layout that was named.
    """
    fitting = [layout for layout in LAYOUTS.values() if layout.fits(content)]
    if name is None:
        return fitting[0] if fitting else LAYOUTS["mmsa"]  # whose messages say what is missing
    if LAYOUTS[name] not in fitting and (name != "mmsa" or fitting):
        raise problem(
            path,
            "",
            found=f"the layout {' or '.join(x.name for x in fitting) or 'of none that is known'}",
            expected=f"{LAYOUTS[name].describes}, as data.layout={name} says",
            do="leave data.layout out, or name the layout that was found",
        )
    return LAYOUTS[name]
