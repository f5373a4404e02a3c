"""The embedded corpus as files: its store, and a pickle of it."""

from __future__ import annotations

import hashlib
import json
import pickle  # written only
from dataclasses import asdict
from pathlib import Path

from dhmd.atomic import write_bytes
from dhmd.data.convert import cache_folder
from dhmd.data.corpus import check_corpus
from dhmd.data.hdf5 import Source, write_store
from dhmd.data.store import Store
from dhmd.data.synthetic import VERSION, SyntheticOptions, generate
from dhmd.errors import DataError


def write_pickle(path: Path, options: SyntheticOptions | None = None) -> None:
    """Write the corpus as a feature pickle, marked as synthetic."""
    write_bytes(Path(path), pickle.dumps(generate(options).content, protocol=4))


def synthetic_store(options: SyntheticOptions | None = None, cache_dir: Path | str | None = None) -> Path:
    """Find or make the store of a generated corpus, in the cache folder, one a set of options.

    Raises:
        DataError: the cache folder cannot be written.
    """
    options = options or SyntheticOptions()
    recipe = json.dumps({"version": VERSION, **asdict(options)}, sort_keys=False, default=dict).encode()
    digest = hashlib.sha256(recipe).hexdigest()
    folder = Path(cache_dir).expanduser() if cache_dir is not None else cache_folder()
    path = folder / f"synthetic-{digest[:12]}.dhmd.h5"
    try:
        if path.is_file() and Store(path).source_sha256 == digest:
            return path
    except DataError:
        pass  # damaged: made again
    corpus = check_corpus(generate(options).content, path, options.keys)
    try:
        write_store(corpus, path, Source("generated", len(recipe), digest), options.keys)
    except OSError as error:
        raise DataError(
            f"{path}: the generated corpus cannot be written\n  found:      {error}\n  expected:   a folder that can be written\n"
            "  what to do: name a folder with data.cache_dir=... or the environment variable DHMD_CACHE"
        ) from error
    return path
