"""From the path a user gives to a store that is up to date."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import platformdirs

from dhmd.data.corpus import KEYS, Corpus, check_corpus, check_label_range
from dhmd.data.hdf5 import Source, write_store
from dhmd.data.pickles import load
from dhmd.data.problem import problem
from dhmd.data.store import MAGIC, Store
from dhmd.errors import DataError

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Where stores go that cannot lie beside their source: the environment variable DHMD_CACHE, else the user's cache folder."""
    given = os.environ.get("DHMD_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("dhmd"))


def open_or_convert(
    path: Path | str,
    cache_dir: Path | str | None = None,
    keys: Mapping[str, str] | None = None,
    label_range: tuple[float, float] | None = None,
) -> Path:
    """Find the store of a feature file, converting the file when there is none or when it has changed.

    The store lies beside the file as ``<name>.dhmd.h5``, or in the cache folder where the file's folder cannot be written, or in
    ``cache_dir`` where that is given. It is up to date when the file's size is the recorded one and the file's modification time is
    that of the store (which is given its source's time), or else when the SHA-256 is the recorded one.

    Args:
        path: a feature pickle or a store.
        cache_dir: folder for the store.
        keys: which key of a split holds which modality, in modality order; by default language=text, vision=vision, acoustic=audio.
        label_range: lowest and highest regression label allowed, checked before anything is written; None to skip.

    Returns:
        Path of the store.

    Raises:
        DataError: the file is missing, is a folder, cannot be read, or is not of the layout; nothing is left behind.
    """
    path = Path(path).expanduser()
    keys = dict(keys or KEYS)
    with _open(path) as file:
        if file.read(len(MAGIC)) == MAGIC:
            return path
        file.seek(0)
        before = os.fstat(file.fileno())
        if before.st_size == 0:
            load(file, path)  # raises the message for empty files
        places = _places(path, keys, cache_dir)
        sha256 = ""
        for place in places:
            store = _usable(place, keys)
            if store is None or store.source_size != before.st_size:
                continue
            if place.stat().st_mtime_ns == before.st_mtime_ns:
                return place
            sha256 = sha256 or _sha256(file)
            if store.source_sha256 == sha256:
                with suppress(OSError):  # so that the next look is a cheap one
                    os.utime(place, ns=(before.st_mtime_ns, before.st_mtime_ns))
                return place
        sha256 = sha256 or _sha256(file)
        corpus = check_corpus(load(file, path), path, keys)
        after = os.fstat(file.fileno())
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise problem(path, "", found="a file that changed while it was read", expected="a file at rest", do="wait, then try again")
    if label_range is not None:
        for name, split in corpus.splits.items():
            if split.regression is not None:
                check_label_range(split.regression, *label_range, path, f"{name}/regression_labels")
    return _write(corpus, places, Source(path.name, before.st_size, sha256), keys, before.st_mtime_ns)


def _open(path: Path) -> IO[bytes]:
    do = "check the spelling; a relative path starts at the folder where the command runs"
    try:
        return path.open("rb")
    except FileNotFoundError:
        beside = _pickles_in(path.parent)
        hint = f"; that folder has {beside}" if beside else ""
        raise problem(path, "", found=f"no such file{hint}", expected="a feature pickle or a store", do=do) from None
    except IsADirectoryError:
        inside = _pickles_in(path)
        found = f"a folder with {inside}" if inside else "a folder without pickles"
        raise problem(path, "", found=found, expected="one feature pickle or store", do="name the file in data.path") from None
    except OSError as error:
        found = f"a file that cannot be opened ({error.strerror})"
        raise problem(path, "", found=found, expected="a readable feature pickle or store", do="check its permissions") from None


def _pickles_in(folder: Path) -> str:
    try:
        names = sorted(p.name for p in folder.iterdir() if p.name.endswith((".pkl", ".pickle", ".dhmd.h5")))
    except OSError:
        return ""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _places(path: Path, keys: Mapping[str, str], cache_dir: Path | str | None) -> list[Path]:
    """Where the store may lie, most wanted first."""
    # a store of other modalities of the same file is another store
    other = "" if dict(keys) == dict(KEYS) else "-" + hashlib.sha256(json.dumps(list(keys.items())).encode()).hexdigest()[:8]
    folder = hashlib.sha256(os.fsencode(path.resolve().parent)).hexdigest()[:12]
    in_cache = f"{path.name}-{folder}{other}.dhmd.h5"
    if cache_dir is not None:
        return [Path(cache_dir).expanduser() / in_cache]
    return [path.resolve().parent / f"{path.name}{other}.dhmd.h5", cache_folder() / in_cache]


def _usable(place: Path, keys: Mapping[str, str]) -> Store | None:
    if not place.is_file():
        return None
    try:
        store = Store(place)
    except DataError as error:
        log.warning("converting again: %s", error)
        return None
    return store if list(store.keys.items()) == list(keys.items()) else None


def _write(corpus: Corpus, places: list[Path], source: Source, keys: Mapping[str, str], mtime_ns: int) -> Path:
    failures = []
    for place in places:
        try:
            write_store(corpus, place, source, keys)
            os.utime(place, ns=(mtime_ns, mtime_ns))
        except OSError as error:
            failures.append(f"{place}: {error}")
            continue
        log.info("converted %s to %s", source.name, place)
        return place
    raise DataError(
        f"{source.name}: its store cannot be written\n  found:      " + "; ".join(failures) + "\n"
        "  expected:   a folder that can be written, with room for the features\n"
        "  what to do: free some space, or name a folder with data.cache_dir=... or the environment variable DHMD_CACHE"
    )


def _sha256(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while block := file.read(1 << 20):
        digest.update(block)
    file.seek(0)
    return digest.hexdigest()
