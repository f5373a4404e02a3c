"""Folders of arrays for prediction, in which the csv and its columns split, label and class are optional."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dhmd.data.layouts.folder import read_arrays
from dhmd.data.layouts.layout import SPLITS
from dhmd.data.layouts.npy import load_npy
from dhmd.data.layouts.table import VALID, Table, read_table
from dhmd.errors import data_error

NO_SPLIT = ""
"""Name of the only split of an input without splits."""


def unlabelled(path: Path, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the samples of a folder by split, under the names of the published pickles.

    Args:
        path: the folder.
        keys: the files or sub-folders to read, one a modality.

    Returns:
        A dict for each split that the csv names, or one for `NO_SPLIT`, with id, the keys, and their lengths, raw_text and text_bert if
        there are any. Without a csv, the ids are row numbers or file names.

    Raises:
        DataError: there are several csv files, or an array does not fit.
    """
    table = _table(path)
    ids = table.ids if table else None
    content: dict[str, Any] = {"raw_text": table.columns.get("text") if table else None}
    for key in [*keys, *(k for k in ("text_bert",) if (path / f"{k}.npy").is_file())]:
        ids = _file_names(path, key) if ids is None else ids
        content |= read_arrays(path, key, ids)
    content["id"] = ids
    if table is None or "split" not in table.columns:
        return {NO_SPLIT: content}
    names = table.columns["split"]
    rows = {s: [i for i, x in enumerate(names) if x == s] for s in dict.fromkeys(names)}
    return {s: {k: _take(v, at) for k, v in content.items() if v is not None} for s, at in rows.items()}


def lacking(path: Path) -> list[str]:
    """Return in words the parts of a training folder that this folder lacks; empty if its csv has the columns and splits."""
    table = _table(path)
    if table is None:
        return ["a csv with the columns id, split (train, valid or test), and label or class"]
    lacks = [] if "split" in table.columns else ["the column split (train, valid or test)"]
    if "label" not in table.columns and "class" not in table.columns:
        lacks.append("the column label or class")
    if not lacks:
        names = {VALID.get(s.strip().lower(), s.strip().lower()) for s in table.columns["split"]}
        lacks = [f"samples of the split {s}" for s in SPLITS if s not in names] if names <= set(SPLITS) else []
    return lacks


def _table(path: Path) -> Table | None:
    tables = sorted(path.glob("*.csv"))
    if len(tables) > 1:
        found = ", ".join(p.name for p in tables[:5])
        raise data_error(path, "", found=f"several csv files: {found}", expected="one, with the column id, or none", do="leave one there")
    return read_table(tables[0], needs=("id",)) if tables else None


def _file_names(path: Path, key: str) -> list[str]:
    """Return ids for samples without any: the numbers of an array's rows, or the names of the files in a folder."""
    if (path / f"{key}.npy").is_file():
        array = load_npy(path / f"{key}.npy")
        return [str(i) for i in range(len(array) if array.ndim else 0)]
    return sorted(p.stem for p in (path / key).glob("*.npy"))


def _take(value: Any, rows: list[int]) -> Any:
    return [value[i] for i in rows] if isinstance(value, list) else value[rows]
