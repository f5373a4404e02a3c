"""Folders that are good for predictions but not for training are described; what is good for neither is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from layout_files import change_csv, set_cell, write_folder

from dhmd.data.cli import as_text
from dhmd.data.tools.inspection import inspect_file
from dhmd.errors import DataError


def drop(*columns: str) -> Callable[[list[list[str]]], Any]:
    def change(rows: list[list[str]]) -> None:
        keep = [i for i, name in enumerate(rows[0]) if name not in columns]
        rows[:] = [[row[i] for i in keep] for row in rows]

    return change


NOT_FOR_TRAINING: dict[str, tuple[Callable[[list[list[str]]], Any] | None, dict[str, int], str]] = {
    "no csv": (None, {"all": 16}, "it lacks a csv with the columns id, split (train, valid or test), and label or class"),
    "ids alone": (
        drop("split", "label", "text"),
        {"all": 16},
        "it lacks the column split (train, valid or test), and the column label or class",
    ),
    "no labels": (drop("label"), {"train": 8, "valid": 4, "test": 4}, "it lacks the column label or class"),
    "a split of other": (
        set_cell(1, 1, "other"),
        {"other": 1},
        "samples.csv: split, line 2; found: 'other' here; expected: train, valid and",
    ),
    "test alone": (
        lambda rows: [row.__setitem__(1, "test") for row in rows[1:]],
        {"test": 16},
        "it lacks samples of the split train, and samples of the split valid",
    ),
}


@pytest.mark.parametrize("by_sample", [False, True])
@pytest.mark.parametrize("name", NOT_FOR_TRAINING)
def test_a_folder_for_predictions_is_described(name: str, by_sample: bool, tmp_path: Path) -> None:
    own = tmp_path / "own"
    write_folder(own, by_sample)
    whole = inspect_file(own)
    change, samples, says = NOT_FOR_TRAINING[name]
    if change is None:
        (own / "samples.csv").unlink()
    else:
        change_csv(own / "samples.csv", change)
    found = inspect_file(own)
    assert found.samples.items() >= samples.items()
    assert sum(found.samples.values()) == 16
    assert {m: (x.width, x.length, x.frames) for m, x in found.modalities.items()} == {
        m: (x.width, x.length, x.frames) for m, x in whole.modalities.items()
    }
    assert (found.labels, found.classes, found.layout) == (None, None, "folder")
    (note,) = [n for n in found.notes if n.startswith("good for dhmd predict, not for training: ")]
    assert says in note
    assert "good for dhmd predict" not in str(whole.notes)
    assert str(own) in as_text(found)


@pytest.mark.parametrize("fault", ["two csv", "a short array", "nothing"])
def test_a_folder_that_is_good_for_nothing_is_refused(fault: str, tmp_path: Path) -> None:
    own = tmp_path / "own"
    written = write_folder(own)
    if fault == "two csv":
        (own / "more.csv").write_text("id\n")
    elif fault == "a short array":
        np.save(own / "vision.npy", written["vision"][1:])
    else:
        for file in own.iterdir():
            file.unlink()
    with pytest.raises(DataError, match={"two csv": "several csv", "a short array": "16 rows", "nothing": "without pickles"}[fault]):
        inspect_file(own)


def test_texts_without_anything_else_are_described(tmp_path: Path) -> None:
    (tmp_path / "samples.csv").write_text("id,text\na,one\nb,two\n")
    found = inspect_file(tmp_path)
    assert (found.samples, found.texts, found.modalities) == ({"all": 2}, True, {})
    assert "texts, no token ids" in as_text(found)
