"""Every layout: seen from its content, read to the last value, and refused with its own words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from feature_files import make_content
from layout_files import SIZES, make_mult, make_multibench, make_sims

from dhmd.data.convert import open_or_convert
from dhmd.data.layouts import LAYOUTS, layout_of
from dhmd.data.module import FeatureDataModule
from dhmd.data.store.reader import Store
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
