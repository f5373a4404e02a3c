"""Conversion and stores: faithful, atomic, up to date, checked."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from feature_files import SIZES, files_below, make_content

from dhmd.data import convert
from dhmd.data.convert import cache_folder, open_or_convert
from dhmd.data.store.reader import Store
from dhmd.data.store.statistics import FrameStatistics
from dhmd.errors import DataError

Content = dict[str, Any]
KEYS = {"language": "text", "vision": "vision", "acoustic": "audio"}


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_a_store_holds_what_the_pickle_holds(aligned: bool, protocol: int, write: Callable[..., Path]) -> None:
    content = make_content(aligned)
    store = Store(open_or_convert(write(content, protocol=protocol)))
    assert store.modalities == ("language", "vision", "acoustic")
    assert not store.synthetic
    assert store.notes == []
    for split, n in SIZES.items():
        part = content[split]
        assert store.size(split) == n
        assert store.ids(split) == part["id"]
        assert store.raw_text(split) == part["raw_text"]
        np.testing.assert_array_equal(store.labels(split), part["regression_labels"])
        np.testing.assert_array_equal(store.labels(split, "classification"), part["classification_labels"])
        np.testing.assert_array_equal(store.tokens(split), part["text_bert"])
        rows = np.array([n - 1, 0, n - 1])
        for modality, key in KEYS.items():
            np.testing.assert_array_equal(store.features(split)[modality], part[key])
            np.testing.assert_array_equal(store.read(split, rows)[modality], part[key][rows])
            np.testing.assert_array_equal(store.load(split)[modality], part[key])
            if f"{key}_lengths" in part:
                np.testing.assert_array_equal(store.real(split)[modality], [[0, n] for n in part[f"{key}_lengths"]])
        assert store.non_finite(split) == {"language": (0, 0), "vision": (0, 0), "acoustic": (1, 1)}
    store.verify()


def test_optional_keys_may_be_absent_and_types_may_differ(write: Callable[..., Path]) -> None:
    content = make_content()
    for part in content.values():
        for key in ("raw_text", "text_bert", "annotations", "classification_labels"):
            del part[key]
        part["text"] = part["text"].astype(np.float64)
        part["regression_labels"] = part["regression_labels"][:, None].tolist()
        part["id"] = np.array(part["id"])
    store = Store(open_or_convert(write(content)))
    assert store.raw_text("train") is None
    assert store.tokens("train") is None
    assert store.labels("train", "classification") is None
    assert store.features("train")["language"].dtype == np.float32
    assert store.labels("train").shape == (7,)


def test_texts_of_any_script_survive(content: Content, write: Callable[..., Path]) -> None:
    content["test"]["raw_text"] = ["很好", "naïve ☂", "", "zero\0byte"]
    content["test"]["id"] = ["видео$_$0", "b$_$1", "c$_$2", "d$_$3"]
    store = Store(open_or_convert(write(content)))
    assert store.raw_text("test") == ["很好", "naïve ☂", "", "zero\0byte"]
    assert store.ids("test")[0] == "видео$_$0"
    store.verify()


def test_features_lie_in_one_piece(write: Callable[..., Path], content: Content) -> None:
    with h5py.File(open_or_convert(write(content))) as file:
        assert file["train/features/language"].chunks is None
        assert file["train/features/language"].id.get_offset() > 0


def test_more_or_fewer_modalities_by_name(content: Content, write: Callable[..., Path]) -> None:
    for part in content.values():
        part["pulse"] = part["audio"][:, :, :1]
    path = write(content)
    four = open_or_convert(path, keys={**KEYS, "pulse": "pulse"})
    two = open_or_convert(path, keys={"acoustic": "audio", "language": "text"})
    assert len({four, two, open_or_convert(path)}) == 3
    assert Store(four).modalities == ("language", "vision", "acoustic", "pulse")
    assert Store(two).modalities == ("acoustic", "language")
    assert open_or_convert(path, keys={**KEYS, "pulse": "pulse"}) == four


def converted(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The conversions from now on."""
    calls: list[Path] = []
    original = convert.write_store

    def write_store(corpus: Any, path: Path, *rest: Any) -> None:
        original(corpus, path, *rest)
        calls.append(path)

    monkeypatch.setattr(convert, "write_store", write_store)
    return calls


def test_the_store_lies_beside_its_pickle_and_is_made_once(content: Content, write: Callable[..., Path], monkeypatch: Any) -> None:
    calls = converted(monkeypatch)
    path = write(content)
    first = open_or_convert(path)
    assert first == path.with_name("features.pkl.dhmd.h5")
    assert open_or_convert(path) == first
    assert open_or_convert(first) == first
    assert calls == [first]
    assert files_below(path.parent) == ["features.pkl", "features.pkl.dhmd.h5"]


def test_a_changed_pickle_is_converted_again(content: Content, write: Callable[..., Path], monkeypatch: Any) -> None:
    path = write(content)
    store = open_or_convert(path)
    calls = converted(monkeypatch)
    content["train"]["vision"] = content["train"]["vision"] * 2  # as many bytes as before
    write(content)
    assert open_or_convert(path) == store
    assert calls == [store]
    np.testing.assert_array_equal(Store(store).features("train")["vision"], content["train"]["vision"])


def test_a_touched_pickle_is_not(content: Content, write: Callable[..., Path], monkeypatch: Any) -> None:
    path = write(content)
    open_or_convert(path)
    calls, hashed = converted(monkeypatch), []
    original = convert.sha256_of
    monkeypatch.setattr(convert, "sha256_of", lambda file: hashed.append(1) or original(file))
    os.utime(path, ns=(1, 1))
    open_or_convert(path)
    open_or_convert(path)
    assert (calls, len(hashed)) == ([], 1)  # hashed once, then known by its time again


@pytest.mark.parametrize("damage", ["truncate", "foreign", "schema", "folder"])
def test_a_store_that_is_no_good_is_made_again(damage: str, content: Content, write: Callable[..., Path]) -> None:
    path = write(content)
    store = open_or_convert(path)
    match damage:
        case "truncate":
            os.truncate(store, 3000)
        case "foreign":
            with h5py.File(store, "w") as file:
                file["other"] = 1
        case "schema":
            with h5py.File(store, "a") as file:
                file.attrs["schema"] = 0
        case "folder":
            store.unlink()
            store.mkdir()
    again = open_or_convert(path)
    Store(again).verify()
    assert (again == store) == (damage != "folder")


def test_where_the_folder_cannot_be_written_the_cache_serves(
    content: Content, write: Callable[..., Path], cache: Path, monkeypatch: Any
) -> None:
    path = write(content)
    blocked = path.with_name("features.pkl.dhmd.h5")
    blocked.mkdir()  # root may write anywhere, but not over a folder
    calls = converted(monkeypatch)
    store = open_or_convert(path)
    assert store.parent == cache
    assert open_or_convert(path) == store
    assert calls == [store]
    assert files_below(path.parent) == ["features.pkl"]


def test_files_of_one_name_do_not_meet_in_the_cache(content: Content, tmp_path: Path) -> None:
    stores = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        content["train"]["vision"][0, -1] = float(len(stores))
        path = tmp_path / folder / "aligned_50.pkl"
        path.write_bytes(pickle.dumps(content))
        stores.append(open_or_convert(path, cache_dir=tmp_path / "here"))
    assert [s.parent for s in stores] == [tmp_path / "here"] * 2
    assert [Store(s).features("train")["vision"][0, -1, 0] for s in stores] == [0.0, 1.0]


def test_where_nothing_can_be_written_the_message_names_both_places(
    content: Content, write: Callable[..., Path], tmp_path: Path, monkeypatch: Any
) -> None:
    path = write(content)
    path.with_name("features.pkl.dhmd.h5").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DHMD_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match=r"features\.pkl(.|\n)*DHMD_CACHE") as error:
        open_or_convert(path)
    assert str(path.parent) in str(error.value)
    assert str(tmp_path / "file") in str(error.value)
    assert files_below(path.parent) == ["features.pkl"]


def test_the_cache_folder_follows_the_environment(cache: Path, monkeypatch: Any) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("DHMD_CACHE")
    assert cache_folder().name == "dhmd"


def test_a_failed_write_leaves_the_old_store(content: Content, write: Callable[..., Path], monkeypatch: Any, tmp_path: Path) -> None:
    path = write(content)
    store = open_or_convert(path)
    before = store.read_bytes()
    content["train"]["vision"] *= 3
    write(content)

    def fails(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dhmd.data.store.writer.FrameStatistics.result", fails)
    with pytest.raises(DataError, match="No space left on device"):
        open_or_convert(path)
    assert store.read_bytes() == before
    assert not [f for f in files_below(tmp_path) if f.endswith(".part")]


def test_a_file_that_changes_while_it_is_read_is_refused(content: Content, write: Callable[..., Path], monkeypatch: Any) -> None:
    path = write(content)
    original = convert.load

    def load(file: Any, name: Path, **options: Any) -> Any:
        with path.open("ab") as other:
            other.write(b"more")
        return original(file, name, **options)

    monkeypatch.setattr(convert, "load", load)
    with pytest.raises(DataError, match="changed while it was read"):
        open_or_convert(path)
    assert files_below(path.parent) == ["features.pkl"]


def change_byte(path: Path, dataset: str) -> None:
    with h5py.File(path) as file:
        at = file[dataset].id.get_offset() + 3
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


@pytest.mark.parametrize("dataset", ["train/features/language", "train/regression", "statistics/acoustic", "test/real/vision"])
def test_changed_bytes_are_noticed(dataset: str, content: Content, write: Callable[..., Path]) -> None:
    path = open_or_convert(write(content))
    change_byte(path, dataset)
    with pytest.raises(DataError) as error:
        Store(path).verify()
    for part in (str(path), dataset, "bytes have changed", "SHA-256", "delete this store; it is made again from features.pkl"):
        assert part in str(error.value)


def test_a_store_of_another_schema_is_named(content: Content, write: Callable[..., Path]) -> None:
    path = open_or_convert(write(content))
    with h5py.File(path, "a") as file:
        file.attrs["schema"] = 99
    with pytest.raises(DataError, match=r"a store of schema version 99(.|\n)*give the feature pickle"):
        Store(path)


def test_a_foreign_hdf5_file_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["embeddings"] = 1
    with pytest.raises(DataError, match="no dhmd-store; its top level has embeddings"):
        Store(tmp_path / "x.h5")


def test_a_reader_can_be_sent_to_another_process(content: Content, write: Callable[..., Path]) -> None:
    store = Store(open_or_convert(write(content)))
    x = store.features("train")["language"]
    sent = pickle.dumps(store)
    assert len(sent) < x.nbytes + 20_000
    np.testing.assert_array_equal(pickle.loads(sent).features("train")["language"], x)  # noqa: S301


def test_statistics_equal_those_of_all_real_frames_at_once() -> None:
    rng = np.random.default_rng(0)
    x = (1e4 + rng.normal(size=(1300, 5, 3))).astype(np.float32)  # more than two chunks, far from zero
    real = np.sort(rng.integers(0, 6, size=(1300, 2)), axis=1).astype(np.int32)
    x[7, :, 1], x[9, :, 2] = -np.inf, np.nan
    mask = (np.arange(5) >= real[:, :1]) & (np.arange(5) < real[:, 1:])
    frames = x[mask].astype(np.float64)
    frames[~np.isfinite(frames)] = np.nan
    statistics = FrameStatistics(3)
    for first in range(0, 1300, 700):
        statistics.add(x[first : first + 700], real[first : first + 700])
    count, mean, std = statistics.result()
    np.testing.assert_array_equal(count, np.isfinite(frames).sum(axis=0))
    np.testing.assert_allclose(mean, np.nanmean(frames, axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, np.nanstd(frames, axis=0), rtol=1e-9)


def test_lengths_that_do_not_fit_are_ignored_with_a_note(write: Callable[..., Path]) -> None:
    content = make_content(aligned=False)
    content["train"]["audio_lengths"] = [1] * 7
    content["valid"]["vision_lengths"] = [500] * 3
    store = Store(open_or_convert(write(content)))
    assert any("train/audio_lengths contradicts train/audio" in n for n in store.notes)
    assert any("valid/vision_lengths: 3 lengths exceed the 9 stored frames" in n for n in store.notes)
    truth = (content["train"]["audio"] != 0).any(axis=2).sum(axis=1)
    np.testing.assert_array_equal(np.diff(store.real("train")["acoustic"])[:, 0], truth)


def test_a_video_in_two_splits_is_noted(content: Content, write: Callable[..., Path]) -> None:
    content["test"]["id"] = ["train0$_$9", *content["test"]["id"][1:]]
    store = Store(open_or_convert(write(content)))
    assert store.notes == ["1 videos have clips in both train and test, the first 'train0': the splits are not independent"]
