"""Features in memory, shared by all runs of a process that read the same file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from dhmd.data.store.reader import Store

_held: WeakValueDictionary[tuple[Any, ...], npt.NDArray[np.float32]] = WeakValueDictionary()


def in_memory(store: Store, split: str, modalities: Sequence[str]) -> dict[str, npt.NDArray[np.float32]]:
    """Return all features (N, T, d) of a split by modality, read-only; they are freed with their last reference.

    Args:
        store: the store that holds the features.
        split: name of the split.
        modalities: modalities to read.

    Raises:
        DataError: the bytes differ from those that were written.
    """
    file = store.path.stat()
    common = (store.path.resolve(), file.st_mtime_ns, file.st_size, split, tuple(store.ids(split)))
    keys = {m: (*common, m) for m in modalities}
    found = {m: x for m, key in keys.items() if (x := _held.get(key)) is not None}
    for m, x in store.load(split, [m for m in modalities if m not in found]).items():
        x.setflags(write=False)
        _held[keys[m]] = found[m] = x
    return {m: found[m] for m in modalities}
