"""CH-SIMS and CH-SIMS v2: MMSA's layout in Chinese, with labels a modality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dhmd.data.layouts.layout import KEYS, Canonical, split_dicts
from dhmd.data.layouts.mmsa import three_splits


class Sims:
    """MMSA's keys, and regression_labels_T, _A and _V: what annotators heard or saw in one modality alone; labels from -1 to 1.

    v2 has a fourth split, ``train_mix``, of labelled and unlabelled clips with a key ``mask``, and no raw_text in it.

    Source: github.com/thuiar/MMSA, ``src/MMSA/data_loader.py`` (v1: unaligned_39.pkl); github.com/thuiar/ch-sims-v2,
    ``data/load_data.py`` (v2). Used are the multimodal label and the labelled splits; labels of single modalities are left out, and so
    is train_mix, which has no label for most of its clips. Assumed, as in MMSA's other files: ids are ``video$_$clip``.
    """

    name = "sims"
    describes = "a pickle of CH-SIMS or CH-SIMS v2, with the labels regression_labels and regression_labels_T, _A, _V"

    def fits(self, content: Any) -> bool:
        """Return whether a split has a label of a single modality."""
        return any(f"regression_labels_{m}" in split for split in split_dicts(content).values() for m in "TAV")

    def canonical(self, content: Any, path: Path, keys: Mapping[str, str] | None) -> Canonical:
        """Return the labelled splits unchanged.

        Raises:
            DataError: the content lacks a split.
        """
        canonical = Canonical(three_splits(content, path), dict(keys or KEYS), synthetic=content.get("synthetic") is True)
        if "train_mix" in content:
            canonical.notes.append("train_mix is left out: most of its clips have no label")
        return canonical
