"""The errors a user can cause. The command line prints their text without a traceback."""

from __future__ import annotations


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
