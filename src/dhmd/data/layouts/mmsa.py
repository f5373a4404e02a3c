"""The published pickles of MMSA (Tsinghua): CMU-MOSI and CMU-MOSEI."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dhmd.data.layouts.layout import KEYS, SPLITS, Canonical, split_dicts
from dhmd.data.sources.safe_pickle import LAYOUT
from dhmd.errors import data_error, names_of


class Mmsa:
    """``{train, valid, test}``, each with id, raw_text, text, text_bert, audio, vision, regression_labels, classification_labels,
    annotations and, where unaligned, audio_lengths and vision_lengths.

    Source: github.com/thuiar/MMSA, ``src/MMSA/data_loader.py`` and ``data/DataPre.py``. The canonical form of all layouts is this one.
    """  # noqa: D205

    name = "mmsa"
    describes = LAYOUT

    def fits(self, content: Any) -> bool:
        """Return whether a split has labels under MMSA's names."""
        return any(k in split for split in split_dicts(content).values() for k in ("regression_labels", "classification_labels"))

    def canonical(self, content: Any, path: Path, keys: Mapping[str, str] | None) -> Canonical:
        """Return the splits unchanged.

        Raises:
            DataError: the content is no dict of the three splits.
        """
        splits = three_splits(content, path)
        return Canonical(splits, dict(keys or KEYS), synthetic=content.get("synthetic") is True)


def three_splits(content: Any, path: Path) -> dict[str, dict[Any, Any]]:
    """Return the three splits of a pickle.

    Raises:
        DataError: the content is no dict, or lacks a split.
    """
    if not isinstance(content, dict) or not all(isinstance(content.get(s, {}), dict) for s in SPLITS):
        found = _type_of(content) if not isinstance(content, dict) else "a dict whose splits are not dicts"
        raise data_error(path, "", found=found, expected=LAYOUT, do="pickle {'train': {...}, 'valid': {...}, 'test': {...}}")
    missing = [s for s in SPLITS if s not in content]
    if missing:
        raise data_error(
            path,
            missing[0],
            found=f"no such split; the file has the keys {names_of(content)}",
            expected="the splits train, valid and test",
            do=f"add the split {missing[0]!r}, or rename the one that is meant",
        )
    return {s: content[s] for s in SPLITS}


def _type_of(content: Any) -> str:
    return f"a value of type {type(content).__name__}" + (f" and length {len(content)}" if isinstance(content, list | tuple) else "")
