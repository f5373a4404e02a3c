"""Own features: a folder of npy files beside a csv, read to the last value, and refused with words of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layout_files import SIZES, change_csv, set_cell, write_folder

from dhmd.data.convert import open_or_convert
from dhmd.data.layouts.table import labels_of_table, read_table
from dhmd.data.module import FeatureDataModule
from dhmd.data.store.reader import Store
from dhmd.data.tools.inspection import inspect_file
from dhmd.errors import DataError

FEW = [
    "valid has only 4 samples: which epoch is best is chosen nearly by chance",
    "test has only 4 samples: results on them say little",
]


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
    assert module.warnings == FEW
    assert module.spec.modalities == ("language",)
    assert next(iter(module.train_dataloader())).tokens.shape == (8, 3, 5)


CSV_FAULTS: dict[str, tuple[Callable[[list[list[str]]], Any], list[str]]] = {
    "no id": (set_cell(0, 0, "name"), [": id", "no such column; there are name, split, label, text"]),
    "no split": (set_cell(0, 1, "part"), [": split", "no such column"]),
    "no label": (set_cell(0, 2, "score"), [": label", "neither label nor class"]),
    "a label of x": (set_cell(3, 2, "x"), [": label, line 4", "'x'", "a finite number"]),
    "a label of nan": (set_cell(7, 2, "nan"), ["samples.csv: label, line 8", "'nan'", "a finite number"]),
    "a split of training": (
        lambda rows: [row.__setitem__(1, "training") for row in rows[1:] if row[1] == "train"],
        [": split, line ", "'training' here and in 7 more lines", "write train, which is probably meant"],
    ),
    "semicolons": (
        lambda rows: rows.__setitem__(slice(None), [[";".join(row)] for row in rows]),
        [": line 1", "separated by ';'", "'id;split;label;text'", "columns separated by ','"],
    ),
    "a split of x": (set_cell(3, 1, "x"), [": split, line 4", "'x'", "train, valid and test", "name the split of every"]),
    "an id twice": (set_cell(3, 0, "video0$_$1"), [": id, line 5", "1 ids that repeat", "'video0$_$1' in lines 4, 5 and 16"]),
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


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    table = tmp_path / "samples.csv"
    table.write_text('id,label,text\n\na,1,"two\nlines"\nb,x,one\n')
    with pytest.raises(DataError, match="label, line 5"):
        labels_of_table(read_table(table, needs=("id",)))


@pytest.mark.usefixtures("nothing_left")
def test_one_vector_a_sample_in_one_file(tmp_path: Path) -> None:
    own = tmp_path / "own"
    x = write_folder(own)["vision"][:, 0]
    np.save(own / "vision.npy", x)
    (own / "vision_lengths.npy").unlink()
    with pytest.raises(
        DataError, match=r"vision\.npy\n(.|\n)*shape \(16, 3\)(.|\n)*one vector a sample \(16, 1, 3\)(.|\n)*x\[:, None, :\]"
    ):
        open_or_convert(own)


def test_a_csv_in_another_encoding_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "own")
    (tmp_path / "own" / "samples.csv").write_bytes("id,split,label\nä,train,1\n".encode("latin1"))
    with pytest.raises(DataError, match="no readable csv"):
        open_or_convert(tmp_path / "own")


@pytest.mark.usefixtures("nothing_left")
def test_a_folder_with_no_csv_or_two_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "own")
    (tmp_path / "own" / "more.csv").write_text("id\n")
    with pytest.raises(
        DataError, match=r"several csv files: more\.csv, samples\.csv(.|\n)*one, which lists the samples(.|\n)*move the others"
    ):
        open_or_convert(tmp_path / "own")
    for table in (tmp_path / "own").glob("*.csv"):
        table.unlink()
    with pytest.raises(DataError, match=r"npy files and no csv(.|\n)*a folder with one csv \(columns id, split(.|\n)*dhmd predict"):
        open_or_convert(tmp_path / "own")


@pytest.mark.usefixtures("nothing_left")
def test_a_folder_that_could_be_meant_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "own", by_sample=True)
    (tmp_path / "pictures").mkdir()
    for path in (tmp_path / "owm", tmp_path):
        with pytest.raises(DataError, match=r"folder (has|with) own/\n"):
            open_or_convert(path)


@pytest.mark.parametrize(
    ("options", "columns", "says"),
    [
        ({"task": "binary"}, {}, ["samples.csv: class\n", "no such column", "whole numbers from 0", "data.task=regression"]),
        (
            {"task": "regression"},
            {"class": ["0", "1"] * 8, "label": None},
            ["samples.csv: label\n", "no such column", "multiclass or binary"],
        ),
        ({"task": "binary"}, {"class": ["0", "1", "2", "1"] * 4}, ["samples.csv: class\n", "the classes 0, 1, 2", "0 and 1"]),
        ({"task": "binary"}, {"class": ["0", "1.5"] * 8}, ["samples.csv: class, line 3\n", "'1.5'", "a whole number from 0"]),
        ({"label_range": [-3, 5]}, {"label": [*["1"] * 6, "7", *["1"] * 9]}, ["samples.csv: label, line 8\n", "the first 7 in", "[-3,7]"]),
    ],
)
@pytest.mark.parametrize("converted", [False, True])
def test_labels_that_do_not_fit_are_named_as_the_csv_has_them(
    options: dict[str, Any], columns: dict[str, Any], says: list[str], converted: bool, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    write_folder(own, **columns) if "label" not in columns or columns["label"] else write_folder(own, **{"class": columns["class"]})
    if columns.get("label", "") is None:
        change_csv(own / "samples.csv", lambda rows: [row.pop(2) for row in rows])
    if converted and "1.5" not in columns.get("class", ()):
        open_or_convert(own)
    with pytest.raises(DataError) as error:
        FeatureDataModule(path=own, **options).setup()
    for part in (str(own), *says):
        assert part in str(error.value)


@pytest.mark.parametrize("by_sample", [False, True])
def test_features_that_are_not_finite_are_named_by_file_and_sample(by_sample: bool, tmp_path: Path) -> None:
    own = tmp_path / "own"
    written = write_folder(own, by_sample)
    row = written["split"].index("valid")
    sample = written["ids"][row]
    path = own / "vision" / f"{sample}.npy" if by_sample else own / "vision.npy"
    x = np.load(path)
    (x if by_sample else x[row])[0, 1] = np.nan
    np.save(path, x)
    with pytest.raises(DataError) as error:
        FeatureDataModule(path=own).setup()
    where = f"{path}\n" if by_sample else f"{path}: sample {sample}\n"
    for part in (where, f"1 NaN or infinite values in 1 frames of valid/vision; the first in sample '{sample}'"):
        assert part in str(error.value)


def test_small_splits_are_told_of(tmp_path: Path) -> None:
    write_folder(tmp_path / "own")
    module = FeatureDataModule(path=tmp_path / "own")
    module.setup()
    assert module.warnings[:2] == FEW == inspect_file(tmp_path / "own").notes[-2:]


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
