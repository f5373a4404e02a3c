"""Samples to be predicted, from a pickle, a store or a folder of arrays: without labels, with any splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dhmd.batch import LANGUAGE, FeatureBatch
from dhmd.data.sources.locate import feature_place

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Samples:
    """The samples of one split.

    Attributes:
        where: name of the file and split, for messages.
        path: the file or folder.
        split: name of the split; empty without one.
        keys: key in the file, or file in the folder, of each modality.
        ids: N ids.
        features: per modality (N, T_m, d_m) float32, memory-mapped if they lie on a disk.
        real: per modality (N, 2), the first real frame and the one after the last.
        tokens: (N, 3, T) ids, mask, segments; None without.
        texts: N sentences; None without.
    """

    where: str
    ids: list[str]
    features: Mapping[str, Array]
    real: Mapping[str, Array]
    tokens: Array | None = None
    texts: list[str] | None = None
    path: Path | None = None
    split: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape (N, T_m, d_m) of the features by modality."""
        return {m: x.shape for m, x in self.features.items()}

    def place(self, modality: str, row: int) -> tuple[Path | str, str, str]:
        """Return the file, the key in it and the sample, as text for messages."""
        name = self.ids[row]
        file, key = feature_place(self.path or self.where, self.split, self.keys.get(modality, modality), name)
        return file, key, f"sample {name!r}"

    def batches(self, size: int) -> Iterator[FeatureBatch]:
        """Yield raw batches of at most ``size`` samples, in order."""
        for start in range(0, len(self), size):
            at = slice(start, min(start + size, len(self)))
            features = {m: torch.from_numpy(np.array(x[at], dtype=np.float32)) for m, x in self.features.items()}
            masks = {m: _between(torch.from_numpy(np.array(self.real[m][at])), x.shape[1]) for m, x in features.items()}
            if not features:  # a batch needs features; a text encoder replaces them by its own
                features, masks = (
                    {LANGUAGE: torch.zeros(at.stop - start, 1, 1)},
                    {LANGUAGE: torch.ones(at.stop - start, 1, dtype=torch.bool)},
                )
            yield FeatureBatch(
                features=features,
                masks=masks,
                tokens=None if self.tokens is None else torch.from_numpy(np.array(self.tokens[at])).long(),
            )


def _between(ends: torch.Tensor, frames: int) -> torch.Tensor:
    """Return a (B, T) bool mask from (B, 2): True from the first real frame up to the one after the last."""
    index = torch.arange(frames)
    return (index >= ends[:, :1]) & (index < ends[:, 1:])
