"""Every way in which a feature file can be wrong: the message names it, and nothing is left behind."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dhmd.data.convert import open_or_convert
from dhmd.data.module import FeatureDataModule
from dhmd.errors import DataError, UsageError

Content = dict[str, Any]
Change = Callable[[Content], Any]


def put(split: str, key: str, value: Any) -> Change:
    def change(content: Content) -> None:
        content[split][key] = value(content[split][key]) if callable(value) else value

    return change


def without(*at: str) -> Change:
    def change(content: Content) -> None:
        if len(at) == 1:
            del content[at[0]]
        else:
            for key in at[1:]:
                del content[at[0]][key]

    return change


def with_label(row: int, value: float) -> Callable[[Any], Any]:
    def change(labels: Any) -> Any:
        labels[row] = value
        return labels

    return change


def ragged(x: Any) -> Any:
    out = np.empty(len(x), object)
    for i in range(len(x)):
        out[i] = x[i, : i + 1]
    return out


def emptied(content: Content) -> None:
    content["test"] = {key: value[:0] for key, value in content["test"].items()}


def instead(value: Any) -> Change:
    return lambda content: value


WRONG: dict[str, tuple[Change, list[str]]] = {
    # name: (what is done to a good file, what the message must say besides the file)
    "a list": (instead([1, 2]), ["a value of type list and length 2", "train, valid and test"]),
    "a number": (instead(3), ["a value of type int", "train, valid and test"]),
    "splits that are no dicts": (lambda c: c.update(train=[1]), ["splits are not dicts", "train, valid and test"]),
    "no valid split": (without("valid"), [": valid", "no such split", "train, test", "add the split 'valid'"]),
    "no audio": (without("train", "audio"), [": train/audio", "no such key", "id, raw_text, text,", "data.modalities"]),
    "no ids": (without("valid", "id"), [": valid/id", "no such key"]),
    "no labels": (without("test", "regression_labels", "classification_labels"), [": test/regression_labels", "no labels"]),
    "labels in one split only": (without("test", "classification_labels"), [": test/classification_labels", "present in one split"]),
    "fewer audio samples": (put("train", "audio", lambda x: x[:-1]), [": train/audio", "6 samples", "7, the number of train/id"]),
    "fewer labels": (put("train", "regression_labels", lambda x: x[:-2]), [": train/regression_labels", "5 samples", "7"]),
    "fewer texts": (put("train", "raw_text", lambda x: x[:-2]), [": train/raw_text", "5 samples", "7"]),
    "fewer tokens": (put("train", "text_bert", lambda x: x[:-2]), [": train/text_bert", "5 samples", "7"]),
    "fewer lengths": (put("train", "audio_lengths", [1]), [": train/audio_lengths", "1 samples", "7"]),
    "features of rank 2": (put("train", "vision", lambda x: x[:, 0]), [": train/vision", "rank 2, shape (7, 3)", "rank 3", "(N, T, d)"]),
    "labels of rank 2": (put("train", "regression_labels", np.zeros((7, 2))), [": train/regression_labels", "rank 2", "(N,)"]),
    "tokens with two rows": (put("test", "text_bert", lambda x: x[:, :2]), [": test/text_bert", "(4, 2, 6)", "(N, 3, T)"]),
    "fractional tokens": (put("test", "text_bert", lambda x: x + 0.5), [": test/text_bert", "not whole"]),
    "a mask of 7": (put("test", "text_bert", lambda x: x * 7), [": test/text_bert", "7 in the mask", "0 and 1"]),
    "no frames": (put("train", "vision", lambda x: x[:, :0]), [": train/vision", "(7, 0, 3)", "at least one frame"]),
    "an object array": (put("train", "audio", ragged), [": train/audio", "an object array of shape (7,)", "padded with zeros"]),
    "ragged lists": (
        put("train", "audio", lambda x: [[1.0] * i for i in range(7)]),
        [": train/audio", "makes no array", "numbers of shape"],
    ),
    "strings as features": (put("train", "audio", np.full((7, 6, 2), "x")), [": train/audio", "<U1", "numeric"]),
    "a dict as features": (put("train", "audio", {"a": 1}), [": train/audio", "a value of type dict", "as one NumPy array"]),
    "None as features": (put("train", "audio", None), [": train/audio", "a value of type NoneType", "as one NumPy array"]),
    "complex features": (put("train", "audio", lambda x: np.zeros(x.shape, complex)), [": train/audio", "complex"]),
    "an id that is a list": (put("train", "id", lambda x: [*x[:-1], ["a"]]), [": train/id", "a list in it", "one string a sample"]),
    "ids of rank 2": (put("train", "id", lambda x: np.array([x])), [": train/id", "shape (1, 7)"]),
    "a NaN label": (
        put("valid", "regression_labels", with_label(1, np.nan)),
        [": valid/regression_labels", "1 labels that are NaN or infinite, the first in row 1"],
    ),
    "an infinite label": (put("train", "regression_labels", with_label(0, np.inf)), [": train/regression_labels", "infinite"]),
    "a label of 4": (
        put("test", "regression_labels", with_label(2, 4.0)),
        [": test/regression_labels", "1 labels outside the range", "to 4; the first in row 2", "from -3 to 3", "data.label_range=[-3,4]"],
    ),
    "half a class": (put("test", "classification_labels", lambda x: x + 0.5), [": test/classification_labels", "the class 0.5"]),
    "an empty split": (emptied, [": test/id", "no samples"]),
    "ids in two splits": (
        put("test", "id", lambda x: ["train0$_$0", *x[1:]]),
        [": test/id", "1 ids that are in train too, the first 'train0$_$0'", "take them out"],
    ),
    "other widths in test": (put("test", "audio", lambda x: x[:, :, :1]), [": test/audio", "(6, 1)", "(6, 2) as in train"]),
    "other lengths in valid": (put("valid", "vision", lambda x: x[:, 1:]), [": valid/vision", "(5, 3)", "(6, 3) as in train"]),
    "tokens in train only": (without("valid", "text_bert"), [": valid/text_bert", "none", "as in train"]),
    "a negative length": (put("train", "audio_lengths", [-1] * 7), [": train/audio_lengths", "the length -1", "from 0"]),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.usefixtures("nothing_left")
def test_wrong_content_is_named(name: str, content: Content, write: Callable[..., Path]) -> None:
    change, says = WRONG[name]
    result = change(content)
    path = write(content if result is None else result)
    with pytest.raises(DataError) as error:
        open_or_convert(path, label_range=(-3, 3))
    message = str(error.value)
    for part in (str(path), "found:", "expected:", "what to do:", *says):
        assert part in message
    assert len(message) < 1500
    assert error.value.exit_status == 1


BYTES = {
    "empty": (b"", "an empty file"),
    "text": (b"id,label\n1,2\n", "not a pickle"),
    "a zip": (b"PK\x03\x04" + bytes(100), "not a pickle"),
    "zeros": (bytes(100), "not a pickle"),
    "truncated": (pickle.dumps({"train": {"audio": np.zeros(9)}}, protocol=4)[:-20], "truncated or damaged pickle"),
    "an HDF5 signature alone": (b"\x89HDF\r\n\x1a\n" + bytes(50), "cannot be read as one"),
}


@pytest.mark.parametrize("name", BYTES)
@pytest.mark.usefixtures("nothing_left")
def test_a_broken_file_is_named(name: str, tmp_path: Path) -> None:
    data, says = BYTES[name]
    path = tmp_path / "aligned_50.pkl"
    path.write_bytes(data)
    with pytest.raises(DataError, match=says) as error:
        FeatureDataModule(path=path).setup()
    assert str(path) in str(error.value)
    assert "what to do:" in str(error.value)


class Command:
    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


@pytest.mark.usefixtures("nothing_left")
def test_a_refused_global_runs_nothing(tmp_path: Path, content: Content, write: Callable[..., Path]) -> None:
    content["train"]["audio"] = Command(str(tmp_path / "made"))
    path = write(content)
    with pytest.raises(DataError, match=r"mkdir.*nothing of it was run") as error:
        open_or_convert(path)
    assert str(path) in str(error.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.usefixtures("nothing_left")
def test_a_missing_file_names_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "unaligned_50.pkl").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no such file; that folder has unaligned_50\.pkl"):
        open_or_convert(tmp_path / "aligned_50.pkl")
    with pytest.raises(DataError, match="no such file"):
        open_or_convert(tmp_path / "nowhere" / "aligned_50.pkl")
    with pytest.raises(DataError, match="Not a directory"):
        open_or_convert(tmp_path / "unaligned_50.pkl" / "aligned_50.pkl")


@pytest.mark.usefixtures("nothing_left")
def test_a_folder_names_what_is_in_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a folder without pickles"):
        open_or_convert(tmp_path)
    for name in "abcdefg":
        (tmp_path / f"{name}.pkl").write_bytes(b"x")
    with pytest.raises(DataError, match=r"a folder with a\.pkl, b\.pkl, c\.pkl, d\.pkl, e\.pkl and 2 more"):
        open_or_convert(tmp_path)


@pytest.mark.usefixtures("nothing_left")
def test_no_path_names_the_published_file() -> None:
    module = FeatureDataModule(name="mosi_aligned", expects="mosi_aligned")
    with pytest.raises(UsageError) as error:
        module.prepare_data()
    for part in ("data.path", "MOSI/Processed/aligned_50.pkl", "d3994fd25681f9c7", "data.path=/folder/file.pkl", "data=demo"):
        assert part in str(error.value)
    assert error.value.exit_status == 2
    with pytest.raises(
        UsageError, match=r"a feature pickle with the splits.* or a folder of npy files with a csv(.|\n)*data\.path=/folder,"
    ):
        FeatureDataModule().setup()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"task": "ranking"}, "data.task: found 'ranking', expected one of regression, binary, multiclass"),
        ({"non_finite": "drop"}, "data.non_finite"),
        ({"tokens": "glove"}, "data.tokens"),
        ({"expects": "iemocap"}, "mosi_aligned"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"label_range": [1]}, "label_range"),
        ({"label_range": [3, -3]}, "label_range=[3, -3]"),
        ({"synthetic": {"n_trian": 3}}, "found 'n_trian', expected one of n_train"),
        ({"synthetic": {"n_train": 0}}, "out of range"),
        ({"synthetic": {"n_train": "many"}}, "of the wrong type"),
        ({"synthetic": {"dims": 3}}, "of the wrong type"),
        ({"synthetic": {"dims": {"language": 3}}}, "reliability"),
    ],
)
def test_wrong_options_are_usage_errors(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as error:
        FeatureDataModule(**options)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"aligned": False}, ["aligned modalities", "data.aligned=false", "unaligned"]),
        (
            {"non_finite": "error"},
            [
                ": train/audio",
                "NaN or infinite values in 1 frames of train/audio",
                "; the first in sample 'train0$_$0'",
                "data.non_finite=zero",
            ],
        ),
        ({"task": "binary"}, ["classification_labels", "the classes 0, 1, 2", "0 and 1", "data.task"]),
        (
            {"tokens": "text_bert", "drop": "text_bert", "tokens_required": True},
            ["train/text_bert", "no token ids", "text_encoder=features"],
        ),
        ({"drop": "text_bert", "tokens_required": True}, ["there is raw_text, but no tokenizer"]),
        ({"task": "multiclass", "drop": "classification_labels"}, ["train/classification_labels", "data.task=multiclass needs"]),
        ({"label_range": [-1, 1]}, ["train/regression_labels", "outside the range", "from -1 to 1"]),
    ],
)
def test_a_good_file_that_does_not_fit_the_options(
    options: dict[str, Any], says: list[str], content: Content, write: Callable[..., Path]
) -> None:
    drop = options.pop("drop", None)
    for split in content.values():
        split.pop(drop, None)
    path = write(content)
    with pytest.raises(DataError) as error:
        FeatureDataModule(path=path, **{"non_finite": "zero", **options}).setup()
    for part in (str(path), "what to do:", *says):
        assert part in str(error.value)


def test_neither_tokens_nor_text(content: Content, write: Callable[..., Path]) -> None:
    for split in content.values():
        del split["text_bert"]
        split["raw_text"] = [""] * len(split["id"])
    with pytest.raises(DataError, match="no token ids, and no raw_text either"):
        FeatureDataModule(
            path=write(content), non_finite="zero", tokens_required=True, tokenizer=lambda t: np.zeros((len(t), 3, 2))
        ).setup()


def test_a_label_range_is_checked_again_when_the_store_is_there(content: Content, write: Callable[..., Path]) -> None:
    path = write(content)
    FeatureDataModule(path=path, non_finite="zero").setup()
    with pytest.raises(DataError, match="outside the range"):
        FeatureDataModule(path=path, non_finite="zero", label_range=(-0.5, 0.5)).setup()
