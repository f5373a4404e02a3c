"""Verification of a store against its checksums and its source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from dhmd.data.convert import open_source
from dhmd.data.layouts.folder import Folder
from dhmd.data.progress import progress
from dhmd.data.sources.fingerprint import sha256_of, state_of
from dhmd.data.store.reader import Store
from dhmd.errors import data_error

GENERATED = "generated"


@dataclass(frozen=True)
class Verification:
    """Result of verifying a store.

    Attributes:
        path: the store.
        samples: number of samples per split.
        bytes_read: bytes of features that agree with their checksums.
        source: the file or folder it was made from, if that was found and is unchanged; None otherwise.
        source_name: name of the source; ``generated`` for a corpus that was never a file.
    """

    path: Path
    samples: dict[str, int]
    bytes_read: int
    source: Path | None
    source_name: str


def verify_store(path: Path | str, source: Path | str | None = None) -> Verification:
    """Compare a store with its checksums and with the file it was made from.

    Args:
        path: the store.
        source: the source file or folder; None to look for its name beside the store.

    Raises:
        DataError: the store is damaged or of another schema, or the source has changed or is missing.
    """
    path = Path(path).expanduser()
    with open_source(path):  # raises the error about a missing file
        store = Store(path)
    total = sum(math.prod(store.shape(s, m)) * 4 for s in store.splits for m in store.modalities)
    with progress("verifying", total) as advance:
        store.verify(advance)
    beside = path.parent / store.source_name
    given = Path(source).expanduser() if source is not None else beside if beside.exists() and store.source_name != GENERATED else None
    if given is not None:
        _compare(store, path, given)
    return Verification(path, {s: store.size(s) for s in store.splits}, total, given, store.source_name)


def _compare(store: Store, path: Path, source: Path) -> None:
    with open_source(source) as opened:
        what = opened.path if isinstance(opened, Folder) else opened
        size = state_of(what).size
        same = size == store.source_size and sha256_of(what) == store.source_sha256
    if not same:
        raise data_error(
            source,
            "",
            found=f"{size} bytes that are not those of which {path.name} was made",
            expected=f"{store.source_size} bytes with SHA-256 {store.source_sha256}",
            do=f"if the change was meant, convert it again: dhmd data convert {source}",
        )
