"""Errors that a user can cause. The command line prints their text without a traceback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class DhmdError(Exception):
    """An error with a message for the user: place, value found, value expected, remedy. Exit status 1."""

    exit_status = 1


class DataError(DhmdError):
    """Error for a data file that is missing, unreadable, unsafe or not of the expected layout."""


class RunError(DhmdError):
    """Error for a run folder that is missing, incomplete or unfit for the request."""


class UsageError(DhmdError):
    """Error for a wrong command, option or configuration. Exit status 2."""

    exit_status = 2


def data_error(file: Path | str, key: str, *, found: str, expected: str, do: str) -> DataError:
    """Return the error for one fault of a data file.

    Args:
        file: the file at fault.
        key: place in the file, for example ``train/audio``; empty for the file itself.
        found: description of the value found.
        expected: description of the value expected.
        do: advice to the user.

    Returns:
        The error, to be raised by the caller.
    """
    where = f"{file}: {key}" if key else f"{file}"
    return DataError(f"{where}\n  found:      {found}\n  expected:   {expected}\n  what to do: {do}")


def names_of(content: Mapping[Any, Any]) -> str:
    """Return the first keys of a mapping, as text for messages."""
    names = [str(k)[:40] for k in list(content)[:20]]
    return ", ".join(names) if names else "none"
