"""Preparation of raw features for a run's network: standardised as in training, padding and unknown values 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from dhmd.batch import FeatureBatch
from dhmd.data.standardisation import Scaling, scaling_of
from dhmd.errors import data_error

Place = Callable[[str, int], tuple[Path | str, str, str]]


@dataclass(frozen=True)
class Preparation:
    """Preparation of raw features by a run (as `dhmd.data.dataset.FeatureDataset` prepares its own).

    Attributes:
        scaling: mean and deviation by modality over the training split; empty where features stay raw.
        non_finite: the run's policy on NaN and infinite values: ``error`` or ``zero``.
    """

    scaling: Mapping[str, Scaling]
    non_finite: str

    @classmethod
    def of_run(cls, data_state: Mapping[str, Any] | None, data_config: Mapping[str, Any]) -> Preparation:
        """Return the preparation of a run, from the checkpoint's state and the configuration of the data module."""
        return cls(scaling_of(data_state or {}), data_config["non_finite"])

    def check(self, features: Mapping[str, Tensor], where: Place | None = None) -> None:
        """Raise an error for values that the run's policy refuses.

        Args:
            features: raw (N, T_m, d_m) by modality.
            where: function from modality and row to the names of the file, the key and the sample, for messages; None for arrays.

        Raises:
            DataError: there are NaN or infinite values and the policy is ``error``.
        """
        if self.non_finite != "error":
            return
        for modality, x in features.items():
            bad = ~x.isfinite()
            if not bad.any():
                continue
            row = int(bad.flatten(1).any(1).nonzero()[0])
            file, key, sample = where(modality, row) if where else ("the samples", modality, f"row {row}")
            raise data_error(
                file,
                key,
                found=f"{int(bad.sum())} NaN or infinite values, the first in {sample}",
                expected="finite features, as the run was trained with data.non_finite=error",
                do="extract these features again, or train with data.non_finite=zero, which reads them as 0",
            )

    def __call__(self, batch: FeatureBatch, modalities: tuple[str, ...]) -> FeatureBatch:
        """Return the batch with the features of these modalities prepared; everything else is unchanged."""
        return replace(batch, features={**batch.features, **{m: self._one(m, batch.features[m], batch.masks[m]) for m in modalities}})

    def _one(self, modality: str, x: Tensor, mask: Tensor) -> Tensor:
        x, finite = x.float(), x.isfinite()
        if modality in self.scaling:
            x = (x - self.scaling[modality].mean) / self.scaling[modality].std
        return x.masked_fill(~(finite & mask.unsqueeze(-1)), 0.0)
