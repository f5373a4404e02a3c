"""The pickles of MulT: CMU-MOSI and CMU-MOSEI with GloVe text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dhmd.data.layouts.layout import KEYS, Canonical, flat_labels, required, split_dicts
from dhmd.data.layouts.mmsa import three_splits
from dhmd.data.sources.fields import labels_of


class MulT:
    """``{train, valid, test}``, each with text (N, 50, 300) GloVe, audio, vision, labels (N, 1, 1) and, in some files, id (N, 3).

    Source: github.com/yaohungt/Multimodal-Transformer, ``src/dataset.py`` (mosi_data.pkl, mosei_senti_data.pkl and their _noalign
    versions). An id is video, start and end of the clip, which become ``video$_$start-end``; a file without ids gets numbers. Labels are
    real numbers from -3 to 3. There are no texts and no token ids. IEMOCAP's labels (N, 4, 2) are four questions at once and refused.
    """

    name = "mult"
    describes = "a pickle of MulT, with the key labels and GloVe vectors in text"

    def fits(self, content: Any) -> bool:
        """Return whether a split has labels under MulT's name alone."""
        return any("labels" in split and "regression_labels" not in split for split in split_dicts(content).values())

    def canonical(self, content: Any, path: Path, keys: Mapping[str, str] | None) -> Canonical:
        """Return the splits with labels as regression_labels and ids as strings.

        Raises:
            DataError: labels are absent or of another shape.
        """
        canonical = Canonical({}, dict(keys or KEYS), synthetic=content.get("synthetic") is True)
        numbered = False
        for name, split in three_splits(content, path).items():
            labels = flat_labels(required(split, "labels", name, path), path, f"{name}/labels")
            labels_of(labels, len(labels), path, f"{name}/labels")  # checked here, while the file's own key is known
            rest = {k: v for k, v in split.items() if k not in ("labels", "id")}
            ids = split.get("id")
            numbered = numbered or ids is None
            canonical.splits[name] = {**rest, "id": _ids(ids, name, len(labels)), "regression_labels": labels}
        if numbered:
            canonical.notes.append("the file has no ids: samples are numbered, and which clips share a video is not known")
        return canonical


def _ids(value: Any, name: str, n: int) -> Any:
    if value is None:
        return [f"{name}{i}" for i in range(n)]
    items = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(items, list) or not all(isinstance(row, list | tuple) and len(row) == 3 for row in items):
        return value
    rows = [[x.decode(errors="replace") if isinstance(x, bytes) else str(x) for x in row] for row in items]
    return [f"{video}$_${start}-{end}" for video, start, end in rows]
