"""Texts of the samples, which a run does not record: they are read from the store it was trained on, if that still exists."""

from __future__ import annotations

from pathlib import Path

from dhmd.data.store.reader import Store
from dhmd.errors import DataError
from dhmd.runs.reader import Run


def texts_of(run: Run) -> dict[str, str]:
    """Return the text of each sample by id; empty if the store is missing, holds other data, or has no texts.

    An id that stands for two different texts gets none.
    """
    path, source = run.description.get("store"), run.description.get("source") or {}
    if not isinstance(path, str) or not Path(path).is_file():
        return {}
    try:
        store = Store(Path(path))
        if store.source_sha256 != source.get("sha256"):
            return {}
        found: dict[str, str] = {}
        doubtful: set[str] = set()
        for split in store.splits:  # all splits: folds choose their test split among them
            for name, text in zip(store.ids(split), store.raw_text(split) or [], strict=False):
                if found.setdefault(name, text) != text:
                    doubtful.add(name)
    except (DataError, OSError, KeyError, ValueError):
        return {}
    return {name: text for name, text in found.items() if name not in doubtful}
