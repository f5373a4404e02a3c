"""The errors a user can cause. The command line prints their text without a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class DhmdError(Exception):
    """A failure with a message for the user: what, where, found, expected, what to do. Exit status 1."""

    exit_status = 1


class DataError(DhmdError):
    """A data file is missing, unreadable, unsafe or not of the expected layout."""


class RunError(DhmdError):
    """A run folder is missing, incomplete or does not fit what is asked of it."""


class UsageError(DhmdError):
    """The command, an option or the configuration is wrong. Exit status 2."""

    exit_status = 2


def data_error(file: Path | str, key: str, *, found: str, expected: str, do: str) -> DataError:
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
