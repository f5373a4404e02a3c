"""Stores that are cut, flipped or huge, disks that are full, and several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from feature_files import files_below, make_content
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dhmd.data import convert
from dhmd.data.convert import open_or_convert
from dhmd.data.module import FeatureDataModule
from dhmd.data.store.reader import Store
from dhmd.data.synthetic.files import synthesise
from dhmd.errors import DataError

Write = Callable[..., Path]


@cache
def store_bytes(folder: Path) -> bytes:
    import pickle

    (folder / "f.pkl").write_bytes(pickle.dumps(make_content()))
    return open_or_convert(folder / "f.pkl").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


def use(path: Path) -> None:
    """Read everything; what comes out is what was written."""
    module = FeatureDataModule(path=path, non_finite="zero")
    module.setup()
    module.store.verify()
    content = make_content()
    for split in content:
        assert module.ids(split) == content[split]["id"]
        for modality, key in module.store.keys.items():
            np.testing.assert_array_equal(module.store.load(split)[modality], content[split][key])
        assert sum(len(b) for b in module.eval_dataloader(split)) == len(content[split]["id"])


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 7)), min_size=1, max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bits_give_the_same_content_or_a_data_error(whole: Path, flips: list[tuple[int, int]]) -> None:
    data = bytearray(store_bytes(whole))
    for at, bit in flips:
        data[8 + at % (len(data) - 8)] ^= 1 << bit  # behind the signature, without which it is no HDF5 file
    (whole / "flipped.h5").write_bytes(data)
    try:
        use(whole / "flipped.h5")
    except DataError as error:
        assert "flipped.h5" in str(error)  # noqa: PT017  # either way is right
        assert "what to do:" in str(error)  # noqa: PT017


@given(st.integers(8, 10**6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_truncated_store_is_named(whole: Path, length: int) -> None:
    data = store_bytes(whole)
    (whole / "cut.h5").write_bytes(data[: 8 + length % (len(data) - 8)])
    with pytest.raises(DataError, match=r"cut\.h5"):
        use(whole / "cut.h5")


def test_every_bit_of_features_and_labels_counts(whole: Path) -> None:
    data = store_bytes(whole)
    with h5py.File(whole / "f.pkl.dhmd.h5") as file:
        places = [file[name].id.get_offset() + 1 for name in ("train/features/vision", "test/regression", "valid/id", "test/tokens")]
    for at in places:
        (whole / "one.h5").write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
        with pytest.raises(DataError, match="bytes have changed since the store was written"):
            use(whole / "one.h5")


def test_a_store_that_shrinks_while_it_is_read(write: Write) -> None:
    path = open_or_convert(write(make_content()))
    store = Store(path)
    rows = {s: list(range(store.size(s))) for s in store.splits}
    store.read("train", [0])
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match="a file that ends before row"):
        [store.read(s, rows[s]) for s in store.splits]


def test_a_store_replaced_while_it_is_open_is_read_to_its_end(write: Write) -> None:
    content = make_content()
    store = Store(open_or_convert(write(content)))
    before = store.read("train", [1])["vision"]
    content["train"]["vision"][1] *= 2
    other = Store(open_or_convert(write(content)))
    assert (store.read("train", [1])["vision"] == before).all()
    assert (other.read("train", [1])["vision"] == 2 * before).all()


@pytest.mark.parametrize("name", ["train/features/vision", "train/regression", "valid/tokens"])
def test_a_huge_declared_shape_reserves_no_memory(name: str, write: Write) -> None:
    path = open_or_convert(write(make_content()))
    with h5py.File(path, "a", libver=("v110", "v110")) as file:
        old = file[name]
        attributes, shape = dict(old.attrs), old.shape
        del file[name]
        new = file.create_dataset(name, shape=(10**9, *shape[1:]), dtype="<f4")  # never written: takes no room
        new.attrs.update(attributes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DataError, match=r"(declares \d+ bytes in a file of \d+|samples in train)"):
        use(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 19  # half a GB, in kilobytes


@pytest.mark.parametrize("what", ["objects", "records", "dates"])
@pytest.mark.usefixtures("nothing_left")
def test_arrays_of_objects_records_and_dates_are_named(what: str, write: Write) -> None:
    content = make_content()
    kinds: dict[str, tuple[Any, str]] = {
        "objects": (np.array([[1.0], [2.0, 3.0]] * 3 + [[]], dtype=object), "an object array of shape (7,)"),
        "records": (np.zeros((7, 6, 2), [("pitch", "f4"), ("energy", "f4")]), "an array of records (a structured data type)"),
        "dates": (np.zeros((7, 6, 2), "M8[s]"), "an array of dates"),
    }
    content["train"]["audio"], says = kinds[what]
    path = write(content)
    with pytest.raises(DataError) as error:
        open_or_convert(path)
    for part in (str(path), says, "what to do:"):
        assert part in str(error.value)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: writing then fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 5000, 12000, 18000])
def test_a_disk_that_fills_up_leaves_nothing(size: int, write: Write, tmp_path: Path, whole: Path) -> None:
    path = write(make_content())
    assert size < len(store_bytes(whole))
    with room_for(size), pytest.raises(DataError) as error:
        open_or_convert(path)
    for part in ("features.pkl: its store cannot be written", str(path.parent), "cache", "DHMD_CACHE"):
        assert part in str(error.value)
    assert files_below(tmp_path) == ["files/features.pkl"]
    Store(open_or_convert(path)).verify()


@pytest.mark.parametrize("ending", ["pkl", "h5"])
def test_synth_on_a_full_disk_leaves_the_old_file(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus.{ending}"
    path.write_bytes(b"old")
    with room_for(30_000), pytest.raises(DataError, match="cannot be written"):
        synthesise(path, "demo", {"n_train": 40})
    assert path.read_bytes() == b"old"
    assert files_below(tmp_path) == [path.name]


def test_a_disk_without_room_is_not_begun_with(write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(make_content())
    usage = shutil.disk_usage
    free = {path.parent: 100}
    monkeypatch.setattr(convert.shutil, "disk_usage", lambda p: SimpleNamespace(free=free.get(Path(p), usage(p).free)))
    assert open_or_convert(path).parent == tmp_path / "cache"  # where there is room
    with pytest.raises(DataError, match="0 MB are needed, 0 MB are free"):
        open_or_convert(path, output=path.with_name("mine.h5"))


def converts(path: Path, barrier: Any, results: Any) -> None:
    barrier.wait()
    store = Store(open_or_convert(path))
    store.verify()
    results.put((str(store.path), store.source_sha256, store.read("test", [0])["vision"].sum()))


def test_processes_that_convert_one_file_at_once(tmp_path: Path) -> None:
    synthesise(tmp_path / "corpus.pkl", "demo", {"n_train": 400})
    spawn = multiprocessing.get_context("fork")
    barrier, results = spawn.Barrier(3), spawn.Queue()
    processes = [spawn.Process(target=converts, args=(tmp_path / "corpus.pkl", barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(found) == 1
    assert files_below(tmp_path) == ["corpus.pkl", "corpus.pkl.dhmd.h5"]


def test_a_checkpoint_of_other_features_names_those_it_was_trained_on(write: Write) -> None:
    content = make_content()
    first = FeatureDataModule(name="mosi_aligned", path=write(content), non_finite="zero")
    first.setup()
    state = first.state_dict()
    for split in content.values():
        split["audio"] = np.concatenate([split["audio"]] * 2, axis=2)
        split["pulse"] = split["vision"]
    path = write(content, name="other.pkl")
    says = r"widths \{'language': 4, 'vision': 3, 'acoustic': 2\}, the features of mosi_aligned \(features\.pkl\), on which it was trained"
    for modalities in (None, {"language": "text", "vision": "vision"}, {"a": "text", "b": "vision", "c": "pulse"}):
        second = FeatureDataModule(path=path, non_finite="zero", modalities=modalities)
        second.load_state_dict(state)
        with pytest.raises(DataError, match=says) as error:
            second.setup()
        assert str(path) in str(error.value)
    second = FeatureDataModule(path=path, non_finite="zero")
    second.setup()
    with pytest.raises(DataError, match=says):
        second.load_state_dict(state)
