"""A torch data set of one split that reads whole batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from dhmd.batch import LANGUAGE, FeatureBatch
from dhmd.data.standardisation import Scaling
from dhmd.data.store.in_memory import in_memory as features_in_memory
from dhmd.data.store.reader import Store
from dhmd.data.text_cache import TextStates


class FeatureDataset(Dataset[FeatureBatch]):
    """Samples of one split.

    Args:
        store: the store that holds the samples.
        split: name of the split.
        label: (N,) labels in the form the task needs.
        tokens: (N, 3, T) or None.
        scaling: per modality, for standardised features; None for raw ones.
        in_memory: whether to hold the features in memory; otherwise each process opens the file when it first reads.
        states: hidden states of a frozen text encoder, served as the language features; None to leave the encoding to the network.

    In a batch, frames that are not real are exactly 0, and so are values that were NaN or infinite.
    """

    def __init__(
        self,
        store: Store,
        split: str,
        label: Tensor,
        tokens: npt.NDArray[np.integer[Any]] | None,
        scaling: Mapping[str, Scaling] | None,
        in_memory: bool,
        states: TextStates | None = None,
    ) -> None:
        self.store, self.split, self.states = store, split, states
        self.modalities = [m for m in store.modalities if states is None or m != LANGUAGE]
        self.label, self.scaling = label, scaling
        self.tokens = None if tokens is None else torch.from_numpy(np.ascontiguousarray(tokens))
        self.real = {m: torch.from_numpy(r) for m, r in store.real(split).items()}
        self.holes = {m: values > 0 for m, (values, _) in store.non_finite(split).items()}
        self.loaded = features_in_memory(store, split, self.modalities) if in_memory else None

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, row: int) -> FeatureBatch:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> FeatureBatch:
        """Return the batch of these rows."""
        index = torch.as_tensor(rows)
        at = index.numpy()
        raw = self.store.read(self.split, at, self.modalities) if self.loaded is None else {m: x[at] for m, x in self.loaded.items()}
        features, masks = {}, {}
        for modality in self.store.modalities:
            if modality not in raw and self.states is not None:
                features[modality], masks[modality] = torch.from_numpy(self.states.read(at)), torch.from_numpy(self.states.mask[at])
                continue
            ends = self.real[modality][index]
            frame = torch.arange(raw[modality].shape[1])
            masks[modality] = (frame >= ends[:, :1]) & (frame < ends[:, 1:])
            features[modality] = self._clean(torch.from_numpy(raw[modality]), masks[modality], modality)
        return FeatureBatch(
            features=features,
            masks=masks,
            label=self.label[index],
            tokens=None if self.tokens is None else self.tokens[index].long(),
            index=index,
            encoded=self.states is not None,
        )

    def _clean(self, x: Tensor, mask: Tensor, modality: str) -> Tensor:
        """Standardise (B, T, d) in place if scaling is given, and set non-finite values and frames that are not real to 0."""
        if self.scaling is not None:
            x.sub_(self.scaling[modality].mean).div_(self.scaling[modality].std)
            x.masked_fill_(~mask[..., None], 0.0)
        if self.holes[modality]:
            x.masked_fill_(~x.isfinite(), 0.0)
        return x
