"""Conversion of a feature file or folder to an up-to-date store."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import platformdirs

from dhmd.data.layouts.folder import DESCRIBES, Folder, folder_at, modality_keys
from dhmd.data.sources.checked import KEYS, Corpus, check_corpus
from dhmd.data.sources.fingerprint import Source, sha256_of, state_of
from dhmd.data.sources.locate import check_label_range
from dhmd.data.sources.safe_pickle import load
from dhmd.data.store.reader import MAGIC, Store
from dhmd.data.store.writer import write_store
from dhmd.errors import DataError, data_error

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder for stores that cannot lie beside their source: the environment variable DHMD_CACHE, else the user's cache."""
    given = os.environ.get("DHMD_CACHE")
    return Path(given).expanduser() if given else Path(platformdirs.user_cache_dir("dhmd"))


def open_or_convert(
    path: Path | str,
    cache_dir: Path | str | None = None,
    keys: Mapping[str, str] | None = None,
    label_range: tuple[float, float] | None = None,
    layout: str | None = None,
    output: Path | str | None = None,
) -> Path:
    """Return the store of a feature file or folder, converting the source if there is no store or if the source has changed.

    The store lies beside the file as ``<name>.dhmd.h5``, in ``cache_dir`` if that is given, or in the cache folder if the file's folder
    cannot be written. A store is up to date when the file's size equals the recorded one and the file's modification time equals the
    store's (which is set to that of its source), or else when the SHA-256 equals the recorded one.

    Args:
        path: a feature pickle, a folder of arrays, or a store.
        cache_dir: folder for the store.
        keys: the key of a split that holds each modality, in modality order; None for the layout's own keys, which are language=text,
            vision=vision, acoustic=audio in pickles.
        label_range: lowest and highest regression label allowed, checked before anything is written; None to skip.
        layout: the layout's name (``dhmd.data.layouts``); None to see it from the content.
        output: path of the store; None for the locations above.

    Returns:
        Path of the store.

    Raises:
        DataError: the file is missing, cannot be read, or is not of the layout; no partial store is left behind.
    """
    path = Path(path).expanduser()
    with open_source(path) as opened:
        if not isinstance(opened, Folder):
            if opened.read(len(MAGIC)) == MAGIC:
                return path
            opened.seek(0)
        source: Path | IO[bytes] = opened.path if isinstance(opened, Folder) else opened
        before = state_of(source)
        places = [_free(Path(output).expanduser())] if output else _places(path, keys, layout, cache_dir)
        sha256 = ""
        for place in places:
            store = _usable(place, keys, layout)
            if store is None or store.source_size != before.size:
                continue
            seen = place.stat()  # the store's modification time is its source's; a source touched after the store was made is hashed again
            if seen.st_mtime_ns == before.mtime_ns and before.ctime_ns <= seen.st_ctime_ns:
                return place
            sha256 = sha256 or sha256_of(source)
            if store.source_sha256 == sha256:
                with suppress(OSError):  # the next check then needs no hash
                    os.utime(place, ns=(before.mtime_ns, before.mtime_ns))
                return place
        content = opened if isinstance(opened, Folder) else load(opened, path, large_stay=True)
        corpus = check_corpus(content, path, keys, layout)
        sha256 = sha256 or sha256_of(source)

        def at_rest() -> None:
            if state_of(source) != before:
                raise data_error(
                    path, "", found="a file that changed while it was read", expected="a file at rest", do="wait, then try again"
                )

        at_rest()
        if label_range is not None:
            for name, split in corpus.splits.items():
                if split.regression is not None:
                    check_label_range(split.regression, *label_range, path, name, split.ids)
        return _write(corpus, places, Source(path.name, before.size, sha256), before.mtime_ns, at_rest)


@contextmanager
def open_source(path: Path) -> Iterator[IO[bytes] | Folder]:
    """Open a feature file, or find the folder of arrays that a path refers to.

    Raises:
        DataError: the path is neither.
    """
    do = "check the spelling; a relative path starts at the folder where the command runs"
    if path.is_dir():
        folder = folder_at(path)
        if folder is None:
            raise _no_folder(path)
        yield folder
        return
    try:
        file = path.open("rb")
    except FileNotFoundError:
        beside = _sources_in(path.parent)
        hint = f"; that folder has {beside}" if beside else ""
        raise data_error(path, "", found=f"no such file{hint}", expected="a feature pickle, a store or a folder of arrays", do=do) from None
    except OSError as error:
        found = f"a file that cannot be opened ({error.strerror})"
        raise data_error(path, "", found=found, expected="a readable feature pickle or store", do="check its permissions") from None
    with file:
        yield file


def _no_folder(path: Path) -> DataError:
    """Return the reason why a folder is no folder of arrays."""
    tables, arrays = sorted(p.name for p in path.glob("*.csv")), bool(modality_keys(path))
    if len(tables) > 1 and arrays:
        found = f"several csv files: {', '.join(tables[:5])}"
        return data_error(path, "", found=found, expected="one, which lists the samples", do="move the others away")
    inside = _sources_in(path)
    if arrays and not inside:
        do = "add such a csv, with the lines in the order of the rows of the arrays; dhmd predict reads the folder without one"
        return data_error(path, "", found="npy files and no csv", expected=DESCRIBES, do=do)
    found = f"a folder with {inside}" if inside else "a folder without pickles, and not one csv"
    return data_error(path, "", found=found, expected=f"one feature pickle or store, or {DESCRIBES}", do="name the file in data.path")


def _sources_in(folder: Path) -> str:
    """Return the folders of arrays, pickles and stores in a folder, for messages."""
    try:
        there = sorted(folder.iterdir())
        names = [f"{p.name}/" for p in there if p.is_dir() and any(p.glob("*.csv")) and (any(p.glob("*.npy")) or any(p.glob("*/*.npy")))]
        names += [p.name for p in there if p.name.endswith((".pkl", ".pickle", ".dhmd.h5"))]
    except OSError:
        return ""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _places(path: Path, keys: Mapping[str, str] | None, layout: str | None, cache_dir: Path | str | None) -> list[Path]:
    """Return the possible locations of the store, the preferred one first."""
    # a store with other modalities of the same file is a separate store
    asked = [list(keys.items()) if keys and list(keys.items()) != list(KEYS.items()) else None, layout]
    other = "-" + hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:8] if any(asked) else ""
    folder = hashlib.sha256(os.fsencode(path.resolve().parent)).hexdigest()[:12]
    in_cache = f"{path.name}-{folder}{other}.dhmd.h5"
    if cache_dir is not None:
        return [Path(cache_dir).expanduser() / in_cache]
    return [path.resolve().parent / f"{path.name}{other}.dhmd.h5", cache_folder() / in_cache]


def _free(output: Path) -> Path:
    """Return the path, unless a file that is not a store would be overwritten.

    Raises:
        DataError: the path holds something else.
    """
    if output.is_dir() or (output.is_file() and output.open("rb").read(len(MAGIC)) != MAGIC):
        found = "a folder" if output.is_dir() else "a file that is no store"
        raise data_error(output, "", found=found, expected="a new name, or a store to replace", do="name another file with -o")
    return output


def _usable(place: Path, keys: Mapping[str, str] | None, layout: str | None) -> Store | None:
    if not place.is_file():
        return None
    try:
        store = Store(place)
    except DataError as error:
        log.warning("converting again: %s", error)
        return None
    as_asked = (keys is None or list(store.keys.items()) == list(keys.items())) and layout in (None, store.layout)
    return store if as_asked else None


def _write(corpus: Corpus, places: list[Path], source: Source, mtime_ns: int, at_rest: Callable[[], None]) -> Path:
    failures = []
    for place in places:
        try:
            _check_space(corpus, place)
            write_store(corpus, place, source, at_rest)
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


def _check_space(corpus: Corpus, place: Path) -> None:
    """Raise an error early if the disk has no space for the store.

    Raises:
        OSError: the free space is smaller than the features.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    needed = sum(x.nbytes for split in corpus.splits.values() for x in split.features.values())
    free = shutil.disk_usage(place.parent).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")
