"""The pickles of MultiBench: UR-FUNNY (humor.pkl) and MUStARD (sarcasm.pkl)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.data.layouts.layout import KEYS, Canonical, flat_labels, required, split_dicts
from dhmd.data.layouts.mmsa import three_splits
from dhmd.data.sources.lazy_array import DiskArray
from dhmd.errors import data_error


class MultiBench:
    """MulT's keys with labels of two classes: ``{train, valid, test}`` with text (N, T, 300) GloVe, audio (N, T, 81), vision
    (N, T, 371), labels (N, 1) or (N, 1, 1) and id.

    Source: github.com/pliang279/MultiBench, ``datasets/affect/get_data.py``. Humor has the labels 0 and 1, sarcasm -1 and 1: positive
    is class 1, as there. Samples whose text is all zero are left out, as there. Padding is on the left; the audio has -inf, for which
    ``data.non_finite=zero`` puts 0, as there. Assumed: ids are one string or number a sample, which says nothing of the video.
    """  # noqa: D205

    name = "multibench"
    describes = "a pickle of MultiBench (humor.pkl, sarcasm.pkl), with the key labels and two classes"

    def fits(self, content: Any) -> bool:
        """Return whether all labels are 0 and 1, or all -1 and 1."""
        try:
            labels = [np.asarray(split["labels"], np.float64).ravel() for split in split_dicts(content).values()]
            found = {float(x) for x in np.unique(np.concatenate(labels))} if labels else set()
        except (KeyError, TypeError, ValueError):
            return False
        return bool(found) and (found <= {0.0, 1.0} or found <= {-1.0, 1.0})

    def canonical(self, content: Any, path: Path, keys: Mapping[str, str] | None) -> Canonical:
        """Return the splits with labels as classification_labels, without samples whose text is empty.

        Raises:
            DataError: labels are of another shape, or arrays of a split differ in length.
        """
        canonical = Canonical({}, dict(keys or KEYS), synthetic=content.get("synthetic") is True)
        language = canonical.keys.get("language")
        for name, split in three_splits(content, path).items():
            labels = flat_labels(required(split, "labels", name, path), path, f"{name}/labels")
            for key, value in split.items():
                if _counts(value) not in (None, len(labels)):
                    raise data_error(
                        path,
                        f"{name}/{key}",
                        found=f"{_counts(value)} samples",
                        expected=f"{len(labels)}, the number of {name}/labels",
                        do="make all arrays of a split hold the same samples in the same order",
                    )
            said = _said(split.get(str(language)), len(labels))
            kept = split if said.all() else {k: _take(v, said) for k, v in split.items()}
            if not said.all():
                canonical.notes.append(f"{name}: {int((~said).sum())} samples without text are left out")
            numbers = [f"{name}{i}" for i in np.flatnonzero(said)]
            rest = {k: v for k, v in kept.items() if k not in ("labels", "id")}
            classes = (labels[said] > 0).astype(np.int64)
            canonical.splits[name] = {**rest, "id": _ids(kept.get("id", numbers)), "classification_labels": classes}
        return canonical


def _said(text: Any, n: int) -> npt.NDArray[np.bool_]:
    """Return a mask of the samples that have text; all True if that cannot be determined."""
    if not isinstance(text, np.ndarray | DiskArray) or text.ndim != 3 or text.dtype.kind not in "fiu":
        return np.ones(n, bool)
    return np.array([bool(np.any(x)) for x in text])


def _counts(value: Any) -> int | None:
    if isinstance(value, np.ndarray | DiskArray):
        return len(value) if value.ndim else None
    return len(value) if isinstance(value, list) else None


def _take(value: Any, rows: npt.NDArray[np.bool_]) -> Any:
    if isinstance(value, np.ndarray | DiskArray) and value.ndim:
        return value[rows]
    return [x for x, row in zip(value, rows, strict=True) if row] if isinstance(value, list) else value


def _ids(value: Any) -> Any:
    return value.reshape(len(value)) if isinstance(value, np.ndarray) and value.ndim == 2 and value.shape[1] == 1 else value
