"""One form for every complaint about a data file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dhmd.errors import DataError


def problem(file: Path | str, key: str, *, found: str, expected: str, do: str) -> DataError:
    """Make the error for one fault of a data file.

    Args:
        file: the file at fault.
        key: where in the file, for example ``train/audio``; empty for the file itself.
        found: what is there.
        expected: what should be there.
        do: what the user can do about it.

    Returns:
        The error, to be raised by the caller.
    """
    where = f"{file}: {key}" if key else f"{file}"
    return DataError(f"{where}\n  found:      {found}\n  expected:   {expected}\n  what to do: {do}")


def names_of(content: Mapping[Any, Any]) -> str:
    """The first keys of a mapping, for messages."""
    names = [str(k)[:40] for k in list(content)[:20]]
    return ", ".join(names) if names else "none"
