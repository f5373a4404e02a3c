"""Large arrays of a pickle stay in it: read in parts they are what they would be in memory, and nothing holds them all."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_files import make_content
from layout_files import make_multibench

from dhmd.data import convert
from dhmd.data.convert import open_or_convert
from dhmd.data.sources import safe_pickle as pickles
from dhmd.data.sources.lazy_array import DiskArray, Features
from dhmd.data.sources.safe_pickle import load
from dhmd.data.tools.inspection import inspect_file
from dhmd.errors import DataError

X = np.arange(7000 * 5 * 3).reshape(7000, 5, 3)  # beyond 64 KiB, where pickles stop wrapping content in frames


@pytest.fixture
def all_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every array counts as large."""
    monkeypatch.setattr(pickles, "LEAST", 1)


def read(path: Path) -> Any:
    """The content of a pickle; its file is left open."""
    return load(path.open("rb"), path, large_stay=True)


@pytest.mark.usefixtures("all_stay")
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "|b1"])
@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_rows_read_from_the_file_are_those_of_the_array(tmp_path: Path, protocol: int, dtype: str) -> None:
    x = X.astype(dtype)
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"a": x, "same": [x], "after": "text", "labels": x[:, 0, 0]}, protocol))
    found = read(path)
    assert isinstance(found["a"], DiskArray)
    assert found["same"][0] is found["a"]
    assert found["after"] == "text"
    assert isinstance(found["labels"], np.ndarray)  # of rank 1
    for rows in (slice(None), slice(2, 5), slice(6998, 9999), slice(6, 2), slice(None, None, 2), x[:, 0, 0] > 20, np.array([3, 0])):
        assert np.array_equal(found["a"][rows], x[rows])
        assert found["a"][rows].dtype == x.dtype
    assert np.array_equal(list(found["a"]), x)
    assert np.array_equal(np.asarray(found["a"]), x)


@pytest.mark.usefixtures("all_stay")
def test_arrays_of_python_2_stay_too(tmp_path: Path) -> None:
    x = X.astype("<f4")
    path = tmp_path / "x.pkl"
    state = pickle.dumps(x, 3)
    at = state.index(x.tobytes())
    assert state[at - 5 : at - 4] == pickle.BINBYTES
    path.write_bytes(state[: at - 5] + pickle.BINSTRING + state[at - 4 :])
    found = read(path)
    assert isinstance(found, DiskArray)
    assert np.array_equal(found[:], x)


@pytest.mark.usefixtures("all_stay")
def test_fortran_order_is_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(np.asfortranarray(X)))
    assert np.array_equal(read(path), X)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _longer(data: bytes) -> bytes:
    at = data.index(X.astype("<f4").tobytes())
    return data[: at - 4] + struct.pack("<I", 1 << 31) + data[at:]


def _of_another_size(data: bytes) -> bytes:
    return data.replace(b"M\x58\x1bK\x05K\x03\x87", b"M\x59\x1bK\x05K\x03\x87")


@pytest.mark.usefixtures("all_stay")
@pytest.mark.parametrize("harm", [_cut, _longer, _of_another_size])
def test_damage_is_found_before_anything_is_read_in_parts(tmp_path: Path, harm: Any) -> None:
    data = pickle.dumps({"a": X.astype("<f4")}, 3)
    assert harm(data) != data
    path = tmp_path / "x.pkl"
    path.write_bytes(harm(data))
    with pytest.raises(DataError, match="truncated or damaged pickle"):
        read(path)


@pytest.mark.parametrize("make", [make_content, make_multibench])
def test_a_store_is_the_same_whether_arrays_stayed_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    content = make()
    for split in content.values():
        split["vision"] = split["vision"].astype(np.float64)
    path = tmp_path / "features.pkl"
    path.write_bytes(pickle.dumps(content, 4))
    stores, looks = [], []
    for least in (1 << 40, 1):
        monkeypatch.setattr(pickles, "LEAST", least)
        stores.append(open_or_convert(path, output=tmp_path / f"{least}.h5").read_bytes())
        looks.append(inspect_file(path))
    assert stores[0] == stores[1]
    assert looks[0] == looks[1]
    assert looks[1].modalities["vision"].dtype == "float64"


@pytest.mark.usefixtures("all_stay")
def test_a_file_that_changes_while_its_arrays_are_written_leaves_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "features.pkl"
    path.write_bytes(pickle.dumps(make_content(), 4))
    write = convert.write_store

    def late(*arguments: Any) -> None:
        with path.open("ab") as file:
            file.write(b"more")
        write(*arguments)

    monkeypatch.setattr(convert, "write_store", late)
    with pytest.raises(DataError, match="changed while it was read"):
        open_or_convert(path)
    assert [p.name for p in tmp_path.iterdir()] == ["features.pkl"]


@pytest.mark.usefixtures("all_stay")
def test_a_file_that_becomes_shorter_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(X))
    found = read(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="became shorter while it was read"):
        found[:]


def test_what_float32_cannot_hold_is_infinite_and_parts_are_parts() -> None:
    x = Features(np.array([[[1e300]], [[2.0]], [[3.0]]]))
    assert np.isinf(x.read()[0, 0, 0])
    assert x.rows(1, 9).rows(1, 2).read().tolist() == [[[3.0]]]
    assert x.rows(1, 9).shape == (2, 1, 1)
    view = np.zeros((2, 2, 2), np.float32)
    assert np.shares_memory(Features(view).rows(0, 1).read(), view)


CONVERT = """
import json, sys
from pathlib import Path
from dhmd.data.convert import open_or_convert
def memory(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))
before = memory("VmRSS")
open_or_convert(sys.argv[1])
print(json.dumps(memory("VmHWM") - before))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_converting_holds_a_block_and_not_the_arrays(tmp_path: Path) -> None:
    rng, content = np.random.default_rng(0), {}
    for split, n in (("train", 2400), ("valid", 10), ("test", 10)):
        arrays = {key: rng.standard_normal((n, 50, width)) for key, width in (("text", 100), ("audio", 60), ("vision", 60))}
        content[split] = {**arrays, "id": [f"{split}{i}$_$0" for i in range(n)], "regression_labels": np.zeros(n)}
    path = tmp_path / "features.pkl"
    path.write_bytes(pickle.dumps(content, 4))
    assert path.stat().st_size > 200e6
    done = subprocess.run([sys.executable, "-c", CONVERT, str(path)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) < 100e6  # the largest array has 96 MB, all together 211
