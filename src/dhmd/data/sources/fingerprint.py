"""Fingerprints of a store's source: a file, or a folder of files taken as one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dhmd.data.progress import Advance, progress

BLOCK = 1 << 20


@dataclass(frozen=True)
class Source:
    """The source of a store.

    Attributes:
        name: file or folder name.
        size: bytes.
        sha256: SHA-256 of the content; of a folder, of its files' names and contents.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class State:
    """State of a source that can be seen without reading it: size in bytes, and modification and status-change times (mtime, ctime) in ns.

    A copy can preserve an old mtime, but never an old ctime.
    """

    size: int
    mtime_ns: int
    ctime_ns: int


def files_of(folder: Path) -> list[Path]:
    """Return the files of a folder of arrays: its csv and npy files, and the npy files one level down, sorted by name."""
    found = [p for pattern in ("*.csv", "*.npy", "*/*.npy") for p in folder.glob(pattern) if p.is_file()]
    return sorted(found, key=lambda p: p.relative_to(folder).as_posix())


def state_of(source: Path | IO[bytes]) -> State:
    """Return the state of an open file or of a folder."""
    if isinstance(source, Path):
        stats = [p.stat() for p in files_of(source)]
        return State(
            sum(s.st_size for s in stats), max((s.st_mtime_ns for s in stats), default=0), max((s.st_ctime_ns for s in stats), default=0)
        )
    status = os.fstat(source.fileno())
    return State(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def sha256_of(source: Path | IO[bytes]) -> str:
    """Return the SHA-256 of an open file from its start (the file's position afterwards), or of a folder."""
    with progress("hashing", state_of(source).size) as advance:
        digest = hashlib.sha256()
        if isinstance(source, Path):
            for path in files_of(source):
                with path.open("rb") as file:
                    digest.update(f"{path.relative_to(source).as_posix()}\0{_hash(file, advance)}\n".encode())
            return digest.hexdigest()
        source.seek(0)
        found = _hash(source, advance)
        source.seek(0)
        return found


def _hash(file: IO[bytes], advance: Advance) -> str:
    digest = hashlib.sha256()
    while block := file.read(BLOCK):
        digest.update(block)
        advance(len(block))
    return digest.hexdigest()
