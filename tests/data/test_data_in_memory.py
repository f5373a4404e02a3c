"""Data that several runs of a process read is in memory once."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from feature_files import make_content

from dhmd.data.convert import open_or_convert
from dhmd.data.store.in_memory import _held, in_memory
from dhmd.data.store.reader import Store
from dhmd.data.store.resplit import Resplit, ResplitStore

MODALITIES = ("language", "vision")


@pytest.fixture
def path(write: Callable[..., Path]) -> Path:
    return open_or_convert(write(make_content()))


def test_two_readers_share_the_features_and_cannot_change_them(path: Path) -> None:
    first, second = (in_memory(Store(path), "train", MODALITIES) for _ in range(2))
    assert tuple(first) == MODALITIES
    for m, x in Store(path).load("train", MODALITIES).items():
        assert first[m] is second[m]
        np.testing.assert_array_equal(first[m], x)
        with pytest.raises(ValueError, match="read-only"):
            first[m][0] = 0


def test_what_differs_is_not_shared(path: Path) -> None:
    store = Store(path)
    groups = sorted({i.rsplit("$_$", 1)[0] for i in store.ids("test")})[:1]
    folds = [ResplitStore(path, Resplit(None, 0, "video", groups), path)]
    assert in_memory(folds[0], "test", ["vision"])["vision"] is not in_memory(store, "test", ["vision"])["vision"]
    before = in_memory(store, "train", ["vision"])["vision"]
    os.utime(path, ns=(1, 1))  # as of another file in its place
    assert in_memory(store, "train", ["vision"])["vision"] is not before


def test_what_nobody_holds_is_freed(path: Path) -> None:
    before = len(_held)
    kept = in_memory(Store(path), "train", MODALITIES)
    assert len(_held) == before + len(kept)
    del kept
    gc.collect()
    assert len(_held) == before
