"""Locations named in messages: a key of a pickle, or a file of a folder of arrays and a line of its csv."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.data.layouts.folder import folder_at
from dhmd.data.layouts.table import read_table
from dhmd.errors import DataError, data_error


def label_place(path: Path | str, split: str, kind: str, sample: str | None = None) -> tuple[Path | str, str]:
    """Return the file and the key of labels.

    Args:
        path: a file, or a folder of arrays.
        split: split of the labels.
        kind: ``regression`` or ``classification``.
        sample: id of a sample, for its line in a csv.

    Returns:
        For a file, the file and ``train/regression_labels``; for a folder, its csv and ``label, line 8``.
    """
    folder = folder_at(Path(path).expanduser()) if Path(path).expanduser().is_dir() else None
    if folder is None:
        return path, f"{split}/{kind}_labels"
    try:
        table = read_table(folder.csv)
    except DataError:  # changed since it was converted
        return folder.csv, "label"
    column = "class" if kind == "classification" and ("class" in table.columns or "label" not in table.columns) else "label"
    return folder.csv, column + (f", line {table.lines[table.ids.index(sample)]}" if sample in table.ids else "")


def feature_place(path: Path | str, split: str, key: str, sample: str) -> tuple[Path | str, str]:
    """Return the file and the key of a modality's features.

    Args:
        path: a file, or a folder of arrays.
        split: split of the sample.
        key: key of the modality.
        sample: id of the sample.

    Returns:
        For a file, the file and ``train/audio``; for a folder, ``audio/<id>.npy``, or ``audio.npy`` and the sample.
    """
    folder = Path(path).expanduser()
    if (folder / f"{key}.npy").is_file():
        return folder / f"{key}.npy", f"sample {sample}"
    if (folder / key / f"{sample}.npy").is_file():
        return folder / key / f"{sample}.npy", ""
    return path, f"{split}/{key}" if split else key


def first_non_finite(features: npt.NDArray[np.float32]) -> int | None:
    """Return the index of the first of N samples (N, T, d) with a NaN or infinite value."""
    return next((row for row, x in enumerate(features) if not np.isfinite(x).all()), None)


def check_label_range(labels: npt.NDArray[Any], low: float, high: float, path: Path | str, split: str, ids: Sequence[str]) -> None:
    """Check that regression labels lie in [low, high].

    Raises:
        DataError: a label is outside; the message names the first and the count.
    """
    outside = np.flatnonzero((labels < low) | (labels > high))
    if not len(outside):
        return
    file, key = label_place(path, split, "regression", ids[outside[0]])
    row = f"the first in row {outside[0]}" if file == path else f"the first {labels[outside[0]]:g} in this line"
    raise data_error(
        file,
        key,
        found=f"{len(outside)} labels outside the range, from {labels.min():g} to {labels.max():g}; {row}",
        expected=f"labels from {low:g} to {high:g}",
        do=f"rescale the labels, or widen the range with data.label_range=[{min(labels.min(), low):g},{max(labels.max(), high):g}]",
    )
