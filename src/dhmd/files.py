"""Atomic files, JSON that holds an object or has a digest, and locks that end with their process."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dhmd.errors import RunError, UsageError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it replaces ``path`` on a clean exit and is removed on an error.

    A pipe or a device is written directly, because it must not be replaced by a file.

    Raises:
        OSError: the folder cannot be written.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)  # mkstemp makes private files
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_path(path) as part:
        part.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write ``content`` to ``path`` atomically, as UTF-8."""
    write_bytes(path, content.encode())


def read_object(path: Path, missing: str, wrong: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Args:
        path: the file.
        missing: advice for a missing file.
        wrong: advice for a file that holds something else.

    Raises:
        RunError: the file is missing or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing; {missing}") from error
    except ValueError as error:
        raise RunError(f"{path}: not JSON ({error}); {wrong}") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: found a {type(content).__name__}, expected an object; {wrong}")
    return content


def json_sha256(content: Any) -> str:
    """Return the SHA-256 of plain content, written as JSON with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def in_use(path: Path) -> bool:
    """Return whether a process is training in the folder now."""
    try:
        import fcntl

        handle = os.open(path / ".lock", os.O_RDONLY)
    except (ImportError, OSError):  # the platform has no such locks, or the folder was never locked
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several processes may look at once
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder.

    Args:
        path: the lock's file; created if it is missing.

    Raises:
        UsageError: another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # the platform has no such locks
        yield
        return
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        for attempt in range(10):  # another process that only looks may hold it for a moment
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
    """Hold a lock, after waiting for other processes that hold it, and remove its file at the end.

    If the platform or the file system has no such locks, no process waits. The work inside the block must therefore be correct (if
    wasteful) when several processes do it at once.

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
            path.unlink()  # removed while the lock is held: a waiting process finds the file gone and creates another
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
