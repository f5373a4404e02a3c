"""The csv of a folder of arrays, with one line a sample."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dhmd.data.layouts.layout import SPLITS
from dhmd.errors import data_error

VALID = {"val": "valid", "dev": "valid", "validation": "valid"}
MEANT = {"tr": "train", "va": "valid", "de": "valid", "te": "test", "ev": "test"}
"""Prefixes of split names that are not accepted, and the split that is probably meant."""


@dataclass(frozen=True)
class Table:
    """The rows of a csv.

    Attributes:
        columns: columns by name, N strings each.
        path: the file, for messages.
        lines: line number of each of the N rows in the file, from 1.
    """

    columns: Mapping[str, list[str]]
    path: Path
    lines: list[int]

    @property
    def ids(self) -> list[str]:
        """Values of the column id."""
        return self.columns["id"]


def read_table(path: Path, needs: tuple[str, ...] = ("id", "split")) -> Table:
    """Read a csv with a header.

    Args:
        path: path of the csv.
        needs: columns that are required.

    Raises:
        DataError: the file is no csv in UTF-8, a column is missing, a line has another number of values, or ids repeat.
    """
    do = "save the table as comma-separated UTF-8 with one header line"
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader, before = csv.reader(file, strict=True), 0
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(before + 1)  # first line of a row that spans several
                before = reader.line_num
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise data_error(path, "", found=f"no readable csv ({error})", expected="a csv", do=do) from None
    header = [name.strip() for name in rows[0]] if rows else []
    if len(header) == 1 and (separators := [s for s in ";\t|" if s in header[0]]):
        name = "tab" if separators[0] == "\t" else separators[0]
        raise data_error(
            path, "line 1", found=f"columns separated by {name!r}: {header[0][:80]!r}", expected="columns separated by ','", do=do
        )
    if missing := [name for name in needs if name not in header]:
        raise data_error(
            path, missing[0], found=f"no such column; there are {', '.join(header) or 'none'}", expected=f"the columns {', '.join(needs)}",
            do="add the column",
        )  # fmt: skip
    for number, row in zip(lines[1:], rows[1:], strict=True):
        if len(row) != len(header):
            raise data_error(path, f"line {number}", found=f"{len(row)} values", expected=f"{len(header)}, as in the header", do=do)
    table = Table({name: [row[i] for row in rows[1:]] for i, name in enumerate(header)}, path, lines[1:])
    if "id" in table.columns:
        _check_ids(table)
    return table


def splits_of(table: Table) -> dict[str, npt.NDArray[np.int64]]:
    """Return the rows of train, valid and test.

    Raises:
        DataError: a split has another name, or one of the three has no rows.
    """
    split = [VALID.get(s.strip().lower(), s.strip().lower()) for s in table.columns["split"]]
    expected, do = "train, valid and test, all three", "name the split of every sample"
    if odd := [i for i, s in enumerate(split) if s not in SPLITS]:
        value = table.columns["split"][odd[0]]
        meant = next((m for start, m in MEANT.items() if split[odd[0]].startswith(start)), None)
        same = [table.lines[i] for i in odd if table.columns["split"][i] == value]
        found = f"{value!r} here" + (f" and in {len(same) - 1} more lines" if len(same) > 1 else "")
        do = f"write {meant}, which is probably meant" if meant else do
        raise data_error(table.path, f"split, line {same[0]}", found=found, expected=expected, do=do)
    if empty := [s for s in SPLITS if s not in split]:
        raise data_error(table.path, "split", found=f"no sample of {empty[0]}", expected=expected, do=do)
    return {s: np.flatnonzero(np.array(split) == s) for s in SPLITS}


def labels_of_table(table: Table) -> dict[str, npt.NDArray[np.float64]]:
    """Return the labels under the names of the published pickles; labels that are whole numbers from 0 serve as classes, too.

    Raises:
        DataError: both columns are missing, a value is no finite number, or a class is not whole.
    """
    found = {name: _numbers(table, name) for name in ("label", "class") if name in table.columns}
    if not found:
        raise data_error(table.path, "label", found="neither label nor class", expected="one of them", do="add the column")
    labels = {"regression_labels": found["label"]} if "label" in found else {}
    classes = found.get("class", found.get("label"))
    if classes is not None and ("class" in found or bool(np.all((classes >= 0) & (classes == np.rint(classes))))):
        labels["classification_labels"] = classes
    return labels


def _check_ids(table: Table) -> None:
    at: dict[str, list[int]] = {}
    for name, line in zip(table.ids, table.lines, strict=True):
        at.setdefault(name, []).append(line)
    if repeated := [name for name in at if len(at[name]) > 1]:
        lines = at[repeated[0]]
        where = f"{', '.join(map(str, lines[:-1][:9]))} and {lines[-1]}"
        raise data_error(
            table.path, f"id, line {lines[1]}", found=f"{len(repeated)} ids that repeat, the first {repeated[0]!r} in lines {where}",
            expected="one line a sample", do="give every sample an id of its own",
        )  # fmt: skip


def _numbers(table: Table, name: str) -> npt.NDArray[np.float64]:
    numbers = np.empty(len(table.ids))
    expected = "a whole number from 0" if name == "class" else "a finite number"
    for i, value in enumerate(table.columns[name]):
        try:
            numbers[i] = float(value)
        except ValueError:
            numbers[i] = np.nan
        if not np.isfinite(numbers[i]) or (name == "class" and numbers[i] != np.rint(numbers[i])):
            raise data_error(
                table.path, f"{name}, line {table.lines[i]}", found=f"{value[:40]!r}", expected=expected,
                do="number the classes from 0, or remove samples without a label",
            )  # fmt: skip
    return numbers
