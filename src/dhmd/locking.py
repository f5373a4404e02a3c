"""Who is at a run folder, or makes a file that others want, too: advisory locks that end with their process."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dhmd.errors import UsageError


def in_use(path: Path) -> bool:
    """Whether a process is training in the folder now."""
    try:
        import fcntl

        handle = os.open(path / ".lock", os.O_RDONLY)
    except (ImportError, OSError):  # no such locks on this platform, or nobody was ever here
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several may look at once
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    Args:
        path: the lock's file; made where it is missing.

    Raises:
        UsageError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this platform
        yield
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        for attempt in range(10):  # somebody who only looks holds it for a moment
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == 9:
                    raise UsageError(f"{path.parent}: another process is training in this folder") from error
                time.sleep(0.1)
        yield
    finally:
        os.close(handle)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait for the others that want this lock, hold it, and leave no file behind.

    Where the platform or the file system has no such locks, nobody waits: what is done under it must be right, if wasteful, for many.

    Args:
        path: the lock's file.

    Raises:
        OSError: its folder cannot be written.
    """
    handle = _handle_alone(path)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()  # while it is held: who waits for it finds that it is no more, and makes another
        os.close(handle)


def _handle_alone(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT)
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        except (ImportError, OSError):
            return handle
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)
