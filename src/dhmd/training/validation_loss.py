"""The monitored loss of learning rate, early stopping and epoch selection: the fused task loss on the validation split."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from dhmd.training.averages import Total, same


class ValidationLoss(ABC):
    """Accumulator of the per-sample loss of the fused prediction over the batches of a pass."""

    def __init__(self) -> None:
        self.total = 0.0
        self.weight = 0.0

    @abstractmethod
    def update(self, losses: Tensor, weights: Tensor | None = None) -> None:
        """Add the losses (B,) of a batch, and the samples' weights (B,) in the mean; None for equal weights."""

    def compute(self, total: Total = same) -> float:
        """Return the loss of all batches since `reset`, over all processes if ``total`` adds over them."""
        loss, weight = total(torch.tensor([self.total, self.weight], dtype=torch.float64)).tolist()
        return float(loss / weight)

    def reset(self) -> None:
        """Forget all batches."""
        self.total, self.weight = 0.0, 0.0


class SampleMean(ValidationLoss):
    """Mean over samples, unrounded."""

    def update(self, losses: Tensor, weights: Tensor | None = None) -> None:
        """Add the losses (B,) of a batch, and the samples' weights (B,) in the mean; None for equal weights."""
        self.total += float(losses.double().sum() if weights is None else (losses.double() * weights).sum())
        self.weight += losses.numel() if weights is None else float(weights.double().sum())


class RoundedBatchMean(ValidationLoss):
    """The authors' monitored loss: mean of batch means (a short last batch weighs as much as a full one), rounded to 4 digits."""

    def update(self, losses: Tensor, weights: Tensor | None = None) -> None:
        """Add the losses (B,) of a batch, and the samples' weights (B,) in the mean; None for equal weights."""
        self.total += float(losses.mean() if weights is None else (losses * weights).sum() / weights.sum())
        self.weight += 1

    def compute(self, total: Total = same) -> float:
        """Return the loss of all batches since `reset`, rounded to 4 digits."""
        return round(super().compute(total), 4)
