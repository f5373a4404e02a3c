"""The layout of a user's own features: a folder of npy files beside a csv."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.batch import LANGUAGE
from dhmd.data.layouts.layout import KEYS, SPLITS, Canonical
from dhmd.data.layouts.npy import load_npy, load_samples
from dhmd.data.layouts.table import labels_of_table, read_table, splits_of
from dhmd.errors import data_error

OTHER_NAMES = {"text": "language", "audio": "acoustic", "video": "vision", "visual": "vision"}
COLUMNS = ("id", "split", "label", "class", "text")
DESCRIBES = "a folder with one csv (columns id, split, label or class, text) and an npy file or a folder of npy files a modality"


@dataclass(frozen=True)
class Folder:
    """Paths of a folder of arrays that is not read yet.

    Attributes:
        path: the folder.
        csv: its one csv file.
    """

    path: Path
    csv: Path


class NpyFolder:
    """One csv with a line a sample, and features by modality as npy files.

    The csv has the columns id, split (train, valid, test), label (real numbers) or class (whole numbers from 0; whole labels serve as
    classes, too), and optionally text; every further column names groups that can be kept together (video, speaker, show). A modality is
    either one file ``<name>.npy`` (N, T, d) with its rows in the order of the csv, zero-padded, optionally with ``<name>_lengths.npy``
    (N,); or one file ``<name>/<id>.npy`` (T_i, d) or (d,) per sample. Token ids may be given in ``text_bert.npy`` (N, 3, T). The names
    language, vision and acoustic (or text, video and audio) come first, others follow by alphabet. Texts without language features are
    for text encoders.

    Source: this project. Arrays are read without unpickling anything.
    """

    name = "folder"
    describes = DESCRIBES

    def fits(self, content: Any) -> bool:
        """Return whether the content is a folder."""
        return isinstance(content, Folder)

    def canonical(self, content: Any, path: Path, keys: Mapping[str, str] | None) -> Canonical:
        """Return the arrays cut into splits.

        Raises:
            DataError: the csv lacks a column or a value, or an array does not fit it.
        """
        table = read_table(content.csv)
        rows = splits_of(table)
        asked, keys = keys, dict(keys) if keys else modality_keys(content.path)
        arrays: dict[str, Any] = {"id": table.ids, **labels_of_table(table)}
        if "text" in table.columns:
            arrays["raw_text"] = table.columns["text"]
        if not asked and LANGUAGE not in keys and "raw_text" in arrays:
            keys = {LANGUAGE: "text", **keys}
        text_only = LANGUAGE in keys and "raw_text" in arrays and not _is_there(content.path, keys[LANGUAGE])
        if text_only:
            arrays[keys[LANGUAGE]] = np.zeros((len(table.ids), 1, 1), np.float32)
        for key in [*keys.values(), *(k for k in ("text_bert",) if (content.path / f"{k}.npy").is_file())]:
            if key not in arrays:
                arrays.update(read_arrays(content.path, key, table.ids))
        groups = {k: v for k, v in table.columns.items() if k not in COLUMNS}
        return Canonical(
            {s: {k: _take(v, rows[s]) for k, v in arrays.items()} for s in SPLITS},
            keys,
            groups={s: {k: _take(v, rows[s]) for k, v in groups.items()} for s in SPLITS},
            text_only=text_only,
        )


def _is_there(folder: Path, key: str) -> bool:
    return (folder / f"{key}.npy").is_file() or (folder / key).is_dir()


def folder_at(path: Path) -> Folder | None:
    """Return the folder of arrays at a path; None unless it holds exactly one csv."""
    tables = sorted(path.glob("*.csv"))
    return Folder(path, tables[0]) if len(tables) == 1 else None


def modality_keys(folder: Path) -> dict[str, str]:
    """Return the file or sub-folder of each modality, from their names, in modality order."""
    names = {p.stem for p in folder.glob("*.npy")} | {p.parent.name for p in folder.glob("*/*.npy")}
    features = sorted(n for n in names if n != "text_bert" and not n.endswith("_lengths"))
    found = {OTHER_NAMES.get(n, n): n for n in features}
    return {m: found[m] for m in [*(m for m in KEYS if m in found), *(m for m in found if m not in KEYS)]}


def read_arrays(folder: Path, key: str, ids: list[str]) -> dict[str, npt.NDArray[Any]]:
    """Return one modality's array and, if there are any, its lengths (under ``<key>_lengths``), in the order of the ids.

    Raises:
        DataError: the array is missing or does not fit the ids.
    """
    if (folder / f"{key}.npy").is_file():
        found = {key: load_npy(folder / f"{key}.npy")}
        if (folder / f"{key}_lengths.npy").is_file():
            found[f"{key}_lengths"] = load_npy(folder / f"{key}_lengths.npy")
        like, order = ("one a line of the csv", "of the csv") if any(folder.glob("*.csv")) else ("as the other files have", "of the others")
        for name, array in found.items():
            if array.ndim == 0 or len(array) != len(ids):
                raise data_error(
                    folder / f"{name}.npy", "", found=f"shape {array.shape}", expected=f"{len(ids)} rows, {like}",
                    do=f"store the rows in the order {order}",
                )  # fmt: skip
        shape = found[key].shape
        if key != "text_bert" and len(shape) != 3:
            do = "save x[:, None, :], which is one frame a sample" if len(shape) == 2 else "reshape the array"
            expected = "(N, T, d): samples, frames, features" + (
                f"; for one vector a sample ({shape[0]}, 1, {shape[1]})" * (len(shape) == 2)
            )
            raise data_error(folder / f"{key}.npy", "", found=f"shape {shape}", expected=expected, do=do)
        return found
    if (folder / key).is_dir():
        x, lengths = load_samples(folder / key, ids)
        return {key: x, f"{key}_lengths": lengths}
    raise data_error(
        folder, key, found=f"neither {key}.npy nor a folder {key}", expected=f"one of them; there are {', '.join(modality_keys(folder))}",
        do="add it, or name the modalities that are there, for example data.modalities={language: text}",
    )  # fmt: skip


def _take(value: Any, rows: npt.NDArray[np.int64]) -> Any:
    if isinstance(value, list):
        return [value[i] for i in rows]
    if len(rows) and len(rows) == rows[-1] - rows[0] + 1:  # contiguous: no copy is needed
        return value[rows[0] : rows[-1] + 1]
    return value[rows]
