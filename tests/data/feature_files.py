"""Tiny feature files in the published layout, made on the spot."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

Content = dict[str, Any]
SIZES = {"train": 7, "valid": 3, "test": 4}


def make_content(aligned: bool = True, seed: int = 0) -> Content:
    """A well-formed content: language 6 frames wide 4, and its vices: padding on both sides, lengths where unaligned, -inf audio."""
    rng = np.random.default_rng(seed)
    content: Content = {}
    for split, n in SIZES.items():
        words = rng.integers(2, 7, size=n)
        label = np.round(rng.uniform(-3, 3, size=n), 1).astype(np.float32)
        text = rng.normal(size=(n, 6, 4)).astype(np.float32) * (np.arange(6) < words[:, None])[..., None]
        part: Content = {
            "id": [f"{split}{i // 2}$_${i % 2}" for i in range(n)],
            "raw_text": [f"text {i} of {split}" for i in range(n)],
            "text": text.astype(np.float32),
            "text_bert": np.stack([rng.integers(1, 99, (n, 6)), np.ones((n, 6), int), np.zeros((n, 6), int)], axis=1),
            "regression_labels": label,
            "classification_labels": np.arange(n) % 3,
            "annotations": ["Neutral"] * n,
        }
        for key, width, length in (("vision", 3, 6 if aligned else 9), ("audio", 2, 6 if aligned else 12)):
            frames = words if aligned else rng.integers(1, length + 1, size=n)
            real = np.arange(length) >= length - frames[:, None] if aligned else np.arange(length) < frames[:, None]
            x = (100 + 10 * rng.normal(size=(n, length, width))).astype(np.float32) * real[..., None]
            if key == "audio":
                first = real.argmax(axis=1)
                x[0, first[0], 0] = -np.inf
            part[key] = x.astype(np.float32)
            if not aligned:
                part[f"{key}_lengths"] = [int(f) for f in frames]
        content[split] = part
    return content


def files_below(folder: Path) -> list[str]:
    return sorted(str(Path(root, name).relative_to(folder)) for root, _, names in os.walk(folder) for name in names)
