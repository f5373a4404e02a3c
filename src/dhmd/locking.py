"""Who is at a run folder: an advisory lock that ends with its process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dhmd.errors import UsageError


def in_use(path: Path) -> bool:
    """Whether a process is training in the folder now."""
    try:
        with locked(path / ".lock", create=False):
            return False
    except UsageError:
        return True
    except FileNotFoundError:
        return False


@contextmanager
def locked(path: Path, create: bool = True) -> Iterator[None]:
    """Hold the lock of a folder.

    Args:
        path: the lock's file.
        create: whether to make it where it is missing, and to wait a moment for whoever only looks.

    Raises:
        UsageError: another process holds it.
        FileNotFoundError: it is missing, and ``create`` is off.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this platform
        yield
        return
    handle = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0))
    try:
        for attempt in range(10):  # somebody who only looks holds it for a moment
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if not create or attempt == 9:
                    raise UsageError(f"{path.parent}: another process is training in this folder") from error
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)
