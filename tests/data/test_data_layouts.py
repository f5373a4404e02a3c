"""Every layout: seen from its content, read to the last value, and refused with its own words."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_files import make_content
from layout_files import SIZES, make_mult, make_multibench, make_sims, write_folder

from dhmd.data.convert import open_or_convert
from dhmd.data.layouts import LAYOUTS, layout_of
from dhmd.data.module import FeatureDataModule
from dhmd.data.store import Store
from dhmd.errors import DataError, UsageError

Write = Callable[..., Path]
MAKERS: dict[str, tuple[str, Callable[[], Any]]] = {
    "MOSI of MMSA": ("mmsa", make_content),
    "MulT": ("mult", make_mult),
    "MulT without ids": ("mult", lambda: make_mult(ids=False)),
    "UR-FUNNY of MultiBench": ("multibench", lambda: make_multibench("humor")),
    "MUStARD of MultiBench": ("multibench", lambda: make_multibench("sarcasm")),
    "SIMS": ("sims", make_sims),
    "SIMS v2": ("sims", lambda: make_sims(v2=True)),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_layout_is_seen_from_the_content(name: str) -> None:
    layout, make = MAKERS[name]
    content = make()
    assert layout_of(content, Path("x")).name == layout
    assert [x.name for x in LAYOUTS.values() if x.fits(content)] in ([layout], [layout, "mmsa"], [layout, "mult"])


@pytest.mark.parametrize("content", [None, 3, [], {}, {"train": {}}, {"train": {"labels": ["a"]}}, {"train": 1, "valid": {"labels": None}}])
def test_anything_has_a_layout_to_be_refused_by(content: Any) -> None:
    with pytest.raises(DataError):
        layout_of(content, Path("x")).canonical(content, Path("x"), None)


def test_a_named_layout_that_the_content_has_not_is_refused(write: Write) -> None:
    path = write(make_mult())
    with pytest.raises(DataError, match=r"the layout mult(.|\n)*CH-SIMS(.|\n)*data\.layout=sims"):
        open_or_convert(path, layout="sims")
    assert Store(open_or_convert(path, layout="mult")).layout == "mult"
    with pytest.raises(UsageError, match=r"data\.layout: found 'pkl', expected one of None, folder, sims, multibench, mult, mmsa"):
        FeatureDataModule(layout="pkl")


def test_a_store_of_another_layout_is_not_taken_for_the_one_named(write: Write) -> None:
    path = write(make_multibench("sarcasm"))  # whose labels MulT could have, too
    seen = open_or_convert(path)
    named = open_or_convert(path, layout="mult")
    assert (Store(seen).layout, Store(named).layout) == ("multibench", "mult")
    assert Store(named).labels("train", "regression") is not None
    assert open_or_convert(path) == seen


def test_mult(write: Write) -> None:
    content = make_mult()
    store = Store(open_or_convert(write(content)))
    assert store.ids("train")[:2] == ["trainvideo0$_$0.5-0.9", "trainvideo0$_$1.5-1.9"]
    assert (store.raw_text("train"), store.tokens("train")) == (None, None)
    for split in SIZES:
        np.testing.assert_array_equal(store.labels(split), content[split]["labels"].ravel())
        np.testing.assert_array_equal(store.features(split)["language"], content[split]["text"].astype(np.float32))
    numbered = Store(open_or_convert(write(make_mult(ids=False), name="other.pkl")))
    assert numbered.ids("valid") == ["valid0", "valid1", "valid2", "valid3"]
    assert numbered.notes == ["the file has no ids: samples are numbered, and which clips share a video is not known"]


def test_mult_with_four_questions_a_sample_is_refused(write: Write) -> None:
    content = make_mult()
    content["valid"]["labels"] = np.zeros((4, 4, 2))
    with pytest.raises(DataError, match=r"valid/labels(.|\n)*\(4, 4, 2\)(.|\n)*one label a sample"):
        open_or_convert(write(content))
    content["valid"]["labels"] = np.array([1.0, np.nan, 0.5, 0.25])
    with pytest.raises(DataError, match=r"valid/labels(.|\n)*NaN or infinite, the first in row 1"):
        open_or_convert(write(content))
    del content["valid"]["labels"]
    with pytest.raises(DataError, match=r"valid/labels(.|\n)*no such key"):
        open_or_convert(write(content))


@pytest.mark.parametrize("kind", ["humor", "sarcasm"])
def test_multibench(kind: str, write: Write) -> None:
    content = make_multibench(kind)
    store = Store(open_or_convert(write(content)))
    assert store.dims == {"language": 300, "vision": 371, "acoustic": 81}
    assert store.notes == ["train: 1 samples without text are left out"]
    kept = [0, 1, 2, 4, 5, 6, 7]
    assert store.ids("train") == [str(i) if kind == "humor" else f"1_{i}" for i in kept]
    np.testing.assert_array_equal(store.labels("train", "classification"), [0, 1, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(store.features("train")["vision"], content["train"]["vision"][kept])
    np.testing.assert_array_equal(store.features("test")["acoustic"], content["test"]["audio"])
    assert (store.real("test")["language"][:, 1] == 10).all()  # padding on the left


def test_multibench_with_arrays_of_different_length(write: Write) -> None:
    content = make_multibench()
    content["train"]["audio"] = content["train"]["audio"][:-1]
    with pytest.raises(DataError, match=r"train/audio(.|\n)*7 samples(.|\n)*8, the number of train/labels"):
        open_or_convert(write(content))


@pytest.mark.parametrize("v2", [False, True])
def test_sims(v2: bool, write: Write) -> None:
    content = make_sims(v2)
    store = Store(open_or_convert(write(content), label_range=(-1, 1)))
    assert store.dims == {"language": 768, "vision": 709, "acoustic": 33}
    assert store.lengths == {"language": 39, "vision": 55, "acoustic": 400}
    assert store.notes == (["train_mix is left out: most of its clips have no label"] if v2 else [])
    assert store.raw_text("test") == (None if v2 else ["我不想嫁给李茶"] * 4)
    for split in SIZES:
        np.testing.assert_array_equal(store.labels(split), content[split]["regression_labels"].astype(np.float32))
        np.testing.assert_array_equal(store.tokens(split), content[split]["text_bert"])
        np.testing.assert_array_equal(np.diff(store.real(split)["acoustic"])[:, 0], content[split]["audio_lengths"])


@pytest.mark.parametrize("by_sample", [False, True])
def test_a_folder(by_sample: bool, tmp_path: Path) -> None:
    written = write_folder(tmp_path / "own", by_sample, speaker=[f"s{i % 3}" for i in range(16)])
    store = Store(open_or_convert(tmp_path / "own"))
    assert store.path == tmp_path / "own.dhmd.h5"
    assert store.layout == "folder"
    assert store.modalities == ("language", "vision", "acoustic")
    for split in SIZES:
        rows = [i for i, s in enumerate(written["split"]) if s == split]
        assert store.ids(split) == [written["ids"][i] for i in rows]
        assert store.groups(split) == {"speaker": [f"s{i % 3}" for i in rows]}
        assert store.raw_text(split)[0].startswith('"sample", ')
        np.testing.assert_array_equal(store.labels(split), written["label"][rows].astype(np.float32))
        assert store.labels(split, "classification") is None
        for modality in store.modalities:
            np.testing.assert_array_equal(store.features(split)[modality], written[modality][rows])
            np.testing.assert_array_equal(np.diff(store.real(split)[modality])[:, 0], written[f"{modality}_lengths"][rows])


def test_a_folder_is_converted_again_when_one_of_its_files_changes(tmp_path: Path) -> None:
    written = write_folder(tmp_path / "own")
    first = Store(open_or_convert(tmp_path / "own"))
    assert Store(open_or_convert(tmp_path / "own")).source_sha256 == first.source_sha256
    np.save(tmp_path / "own" / "vision.npy", written["vision"] * 2)
    second = Store(open_or_convert(tmp_path / "own"))
    assert second.source_sha256 != first.source_sha256
    rows = [i for i, s in enumerate(written["split"]) if s == "test"]
    np.testing.assert_array_equal(second.features("test")["vision"], written["vision"][rows] * 2)


def test_modalities_of_a_folder_are_its_files(tmp_path: Path) -> None:
    own = tmp_path / "own"
    written = write_folder(own)
    (own / "acoustic.npy").rename(own / "audio.npy")
    (own / "acoustic_lengths.npy").rename(own / "audio_lengths.npy")
    np.save(own / "pulse.npy", np.ones((16, 3, 1)))
    store = Store(open_or_convert(own))
    assert store.keys == {"language": "language", "vision": "vision", "acoustic": "audio", "pulse": "pulse"}
    assert store.dims["pulse"] == 1
    two = Store(open_or_convert(own, keys={"pulse": "pulse", "face": "vision"}))
    assert two.modalities == ("pulse", "face")
    np.testing.assert_array_equal(two.features("train")["face"][0], written["vision"][written["split"].index("train")])


def test_classes_of_a_folder(tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_folder(own, **{"class": [str(i % 2) for i in range(16)]})
    module = FeatureDataModule(path=own, task="binary")
    module.setup()
    assert module.labels("test").unique().tolist() == [0, 1]


def test_texts_alone_are_for_text_encoders(tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_folder(own)
    for file in own.glob("*.npy"):
        file.unlink()
    with pytest.raises(DataError, match=r"texts without language features(.|\n)*text_encoder=minilm"):
        FeatureDataModule(path=own).setup()

    def tokenizer(texts: list[str]) -> Any:
        return np.ones((len(texts), 3, 5), int)

    module = FeatureDataModule(path=own, tokenizer=tokenizer, tokens_required=True)
    module.setup()
    assert module.warnings == []
    assert module.spec.modalities == ("language",)
    assert next(iter(module.train_dataloader())).tokens.shape == (8, 3, 5)


def change_csv(path: Path, change: Callable[[list[list[str]]], Any]) -> None:
    rows = list(csv.reader(path.open(newline="")))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def set_cell(row: int, column: int, value: str) -> Callable[[list[list[str]]], Any]:
    return lambda rows: rows[row].__setitem__(column, value)


CSV_FAULTS: dict[str, tuple[Callable[[list[list[str]]], Any], list[str]]] = {
    "no id": (set_cell(0, 0, "name"), [": id", "no such column; there are name, split, label, text"]),
    "no split": (set_cell(0, 1, "part"), [": split", "no such column"]),
    "no label": (set_cell(0, 2, "score"), [": label", "neither label nor class"]),
    "a label of x": (set_cell(3, 2, "x"), [": label, line 4", "'x'", "a number"]),
    "a split of x": (set_cell(3, 1, "x"), [": split", "'x'", "train, valid and test"]),
    "an id twice": (set_cell(3, 0, "video0$_$1"), [": id", "1 ids that repeat", "'video0$_$1'"]),
    "a short line": (lambda rows: rows[5].pop(), [": line 6", "3 values", "4, as in the header"]),
    "a line more": (lambda rows: rows.append(["z", "test", "0", ""]), ["language.npy", "(16, 6, 4)", "17 rows, one a line of the csv"]),
    "nothing": (lambda rows: rows.clear(), [": id", "there are none"]),
}


@pytest.mark.parametrize("name", CSV_FAULTS)
@pytest.mark.usefixtures("nothing_left")
def test_a_wrong_csv_is_named(name: str, tmp_path: Path) -> None:
    write_folder(tmp_path / "own")
    change, says = CSV_FAULTS[name]
    if name == "an id twice":
        change_csv(tmp_path / "own" / "samples.csv", set_cell(4, 0, "video0$_$1"))
    change_csv(tmp_path / "own" / "samples.csv", change)
    with pytest.raises(DataError) as error:
        open_or_convert(tmp_path / "own")
    for part in (str(tmp_path / "own"), "found:", "what to do:", *says):
        assert part in str(error.value)


def test_a_csv_in_another_encoding_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "own")
    (tmp_path / "own" / "samples.csv").write_bytes("id,split,label\nä,train,1\n".encode("latin1"))
    with pytest.raises(DataError, match="no readable csv"):
        open_or_convert(tmp_path / "own")


@pytest.mark.usefixtures("nothing_left")
def test_a_folder_with_no_csv_or_two_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "own")
    (tmp_path / "own" / "more.csv").write_text("id\n")
    with pytest.raises(DataError, match=r"not one csv(.|\n)*a folder with one csv \(columns id, split"):
        open_or_convert(tmp_path / "own")


@pytest.mark.usefixtures("nothing_left")
def test_a_sample_without_its_file_is_named(tmp_path: Path) -> None:
    written = write_folder(tmp_path / "own", by_sample=True)
    gone = tmp_path / "own" / "vision" / f"{written['ids'][5]}.npy"
    gone.unlink()
    with pytest.raises(DataError, match=r"no such file(.|\n)*an npy file") as error:
        open_or_convert(tmp_path / "own")
    assert str(gone) in str(error.value)
    np.save(gone, np.ones((2, 7)))
    with pytest.raises(DataError, match=r"shape \(2, 7\)(.|\n)*width 3 as in"):
        open_or_convert(tmp_path / "own")


def test_an_id_leads_nowhere_else(tmp_path: Path) -> None:
    write_folder(tmp_path / "own", by_sample=True)
    np.save(tmp_path / "secret.npy", np.ones((2, 4)))
    change_csv(tmp_path / "own" / "samples.csv", set_cell(1, 0, "../../secret"))
    with pytest.raises(DataError, match="an id that can be a file name"):
        open_or_convert(tmp_path / "own")


class Runs:
    def __reduce__(self) -> Any:
        return print, ("never",)


@pytest.mark.parametrize("damage", ["objects", "records", "truncated", "huge", "text", "archive", "header"])
@pytest.mark.usefixtures("nothing_left")
def test_a_broken_npy_file_is_named(damage: str, tmp_path: Path, capsys: Any) -> None:
    write_folder(tmp_path / "own")
    path = tmp_path / "own" / "vision.npy"
    data = path.read_bytes()
    match damage:
        case "objects":
            np.save(path, np.array([Runs()] * 16, dtype=object), allow_pickle=True)
        case "records":
            np.save(path, np.zeros(16, [("a", "f4"), ("b", "i4")]))
        case "truncated":
            path.write_bytes(data[:-100])
        case "huge":
            path.write_bytes(data.replace(b"(16, 9, 3), }      ", b"(16, 9, 3000000), }"))
        case "text":
            path.write_text("1,2,3")
        case "archive":
            np.savez(path.with_suffix(".npz"), a=1)
            path.with_suffix(".npz").rename(path)
        case "header":
            path.write_bytes(data.replace(b"'shape'", b"'sh\xffpe'"))
    with pytest.raises(DataError, match=r"(no readable npy file|Python objects|an array of|an archive)") as error:
        open_or_convert(tmp_path / "own")
    assert str(path) in str(error.value)
    assert capsys.readouterr().out == ""
