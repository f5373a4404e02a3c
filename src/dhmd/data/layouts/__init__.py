"""Layouts of feature files, one class a file; the layout of a file is recognised from its content."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dhmd.data.layouts.folder import NpyFolder
from dhmd.data.layouts.layout import KEYS, SPLITS, Canonical, Layout
from dhmd.data.layouts.mmsa import Mmsa
from dhmd.data.layouts.mult import MulT
from dhmd.data.layouts.multibench import MultiBench
from dhmd.data.layouts.sims import Sims
from dhmd.errors import UsageError, data_error
from dhmd.extensions import definitions

__all__ = ["KEYS", "LAYOUTS", "SPLITS", "Canonical", "Layout", "layout_of", "layouts"]

LAYOUTS: dict[str, Layout] = {x.name: x for x in (NpyFolder(), Sims(), MultiBench(), MulT(), Mmsa())}
"""Layouts of the suite by name; the first one that fits a content is used."""


def layouts() -> dict[str, Layout]:
    """Return all layouts by name: those that extensions define first, then those of the suite.

    Raises:
        UsageError: an extension cannot be imported, or its layout has the name of another.
    """
    own: dict[str, Layout] = {}
    for name, value in definitions():
        if isinstance(value, type) and all(hasattr(value, needed) for needed in ("name", "describes", "fits", "canonical")):
            try:
                layout: Layout = value()
            except TypeError as error:
                raise UsageError(f"{name}: a layout is made without arguments ({error})") from error
            if layout.name in {**LAYOUTS, **own}:
                raise UsageError(f"{name}: its layout name {layout.name!r} is taken; choose another")
            own[layout.name] = layout
    return {**own, **LAYOUTS}


def layout_of(content: Any, path: Path, name: str | None = None) -> Layout:
    """Return the layout of a content.

    Args:
        content: the content read from the file.
        path: path of the file, for messages.
        name: name of the layout it must have; None to recognise it.

    Raises:
        DataError: the content does not have the named layout, or none fits.
        UsageError: there is no layout of that name.
    """
    known = layouts()
    fitting = [layout for layout in known.values() if layout.fits(content)]
    if name is None:
        return fitting[0] if fitting else known["mmsa"]  # its messages tell what is missing
    if name not in known:
        raise UsageError(f"layout: found {name!r}, expected one of {', '.join(known)}")
    if known[name] not in fitting and (name != "mmsa" or fitting):
        raise data_error(
            path,
            "",
            found=f"the layout {' or '.join(x.name for x in fitting) or 'of none that is known'}",
            expected=f"{known[name].describes}, as data.layout={name} says",
            do="leave data.layout out, or name the layout that was found",
        )
    return known[name]
