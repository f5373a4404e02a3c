"""Files of the embedded corpus: its store in the cache, and a pickle or a store of any size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dhmd.data.convert import cache_folder
from dhmd.data.layouts import Canonical
from dhmd.data.progress import progress
from dhmd.data.sources.checked import About, check_split
from dhmd.data.sources.fingerprint import Source
from dhmd.data.store.reader import Store
from dhmd.data.store.writer import new_store
from dhmd.data.synthetic.generator import BLOCK, FURTHER, VERSION, SyntheticOptions, blocks
from dhmd.data.synthetic.pickle_writer import PickleWriter
from dhmd.errors import DataError, UsageError
from dhmd.files import atomic_path


def write_pickle(path: Path, options: SyntheticOptions | None = None) -> None:
    """Write the corpus as a feature pickle, marked as synthetic, with at most one block of clips in memory.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    options = options or SyntheticOptions()
    total = sum(options.sizes.values())
    with progress(f"generating {path.name}", total, "clips") as advance, atomic_path(path) as part, part.open("wb") as file:
        writer = PickleWriter(file, options.sizes)
        for split, content, _ in blocks(options):
            writer.add(split, content)
            advance(len(content["id"]))
        writer.finish({"synthetic": True})


def write_synthetic_store(path: Path, options: SyntheticOptions | None = None) -> None:
    """Write the corpus as a store, with at most one block of clips in memory.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    options = options or SyntheticOptions()
    recipe, digest = recipe_of(options)
    about = About(options.keys, synthetic=True)
    total = sum(options.sizes.values())
    with (
        progress(f"generating {path.name}", total, "clips") as advance,
        new_store(path, Source("generated", len(recipe), digest), about) as writer,
    ):
        for name, content, _ in blocks(options):
            block = check_split(Canonical({name: content}, options.keys, notes=about.notes), name, path)
            writer.add(name, options.sizes[name], block)
            advance(len(block))


def recipe_of(options: SyntheticOptions) -> tuple[bytes, str]:
    """Return the values that determine a generated corpus, and their SHA-256."""
    # the size of blocks matters only if there are several
    more: dict[str, int] = {"block": BLOCK} if max(options.sizes.values()) > BLOCK else {}
    more |= {"further": FURTHER} if options.further else {}
    recipe = json.dumps({"version": VERSION, **more, **asdict(options)}, sort_keys=False, default=dict).encode()
    return recipe, hashlib.sha256(recipe).hexdigest()


def synthetic_store(options: SyntheticOptions | None = None, cache_dir: Path | str | None = None) -> Path:
    """Find or make the store of a generated corpus in the cache folder, one for each set of options.

    Raises:
        DataError: the cache folder cannot be written.
    """
    options = options or SyntheticOptions()
    _, digest = recipe_of(options)
    folder = Path(cache_dir).expanduser() if cache_dir is not None else cache_folder()
    path = folder / f"synthetic-{digest[:12]}.dhmd.h5"
    try:
        if path.is_file() and Store(path).source_sha256 == digest:
            return path
    except DataError:
        pass  # damaged: made again
    try:
        write_synthetic_store(path, options)
    except OSError as error:
        raise DataError(
            f"{path}: the generated corpus cannot be written\n  found:      {error}\n  expected:   a folder that can be written\n"
            "  what to do: name a folder with data.cache_dir=... or the environment variable DHMD_CACHE"
        ) from error
    return path


SIZES: dict[str, dict[str, Any]] = {
    "demo": {},
    "mosi": {
        "n_train": 1284,
        "n_valid": 229,
        "n_test": 686,
        "length": 50,
        "dims": {"language": 768, "vision": 20, "acoustic": 5},
        "lengths": {"vision": 500, "acoustic": 375},
    },
    "mosei": {
        "n_train": 16326,
        "n_valid": 1871,
        "n_test": 4659,
        "length": 50,
        "dims": {"language": 768, "vision": 35, "acoustic": 74},
        "lengths": {"vision": 500, "acoustic": 500},
    },
}
"""Options that give the sizes of known data sets; ``lengths`` apply only if ``aligned`` is false."""


def synthesise(path: Path | str, like: str = "demo", options: Mapping[str, Any] | None = None) -> SyntheticOptions:
    """Write the embedded corpus as a pickle (``.pkl``, ``.pickle``) or a store (``.h5``), a block of clips at a time.

    Args:
        path: path of the file; an existing one is replaced when the new one is complete.
        like: name of one of `SIZES`.
        options: options of ``dhmd.data.synthetic.generator.SyntheticOptions``, which override those of ``like``.

    Returns:
        The options as used.

    Raises:
        UsageError: the name has another ending, or an option is unknown or out of range.
        DataError: the file cannot be written.
    """
    path = Path(path).expanduser()
    if like not in SIZES:
        raise UsageError(f"like: found {like!r}, expected one of {', '.join(SIZES)}")
    chosen = SyntheticOptions.of({**SIZES[like], **(options or {})})
    writers = {".pkl": write_pickle, ".pickle": write_pickle, ".h5": write_synthetic_store}
    if path.suffix not in writers:
        raise UsageError(f"{path}: found the ending {path.suffix!r}, expected .pkl for a pickle or .h5 for a store")
    try:
        writers[path.suffix](path, chosen)
    except OSError as error:
        raise DataError(
            f"{path}: the generated corpus cannot be written\n  found:      {error}\n"
            "  expected:   a folder that can be written, with room for the features\n  what to do: free some space, or name another folder"
        ) from error
    return chosen
