"""The one number that learning rate, stopping and the choice of the best epoch look at: the fused task loss on the validation split."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from dhmd.training.averages import Total, same


class ValidationLoss(ABC):
    """Accumulates the per-sample loss of the fused prediction over the batches of a pass."""

    def __init__(self) -> None:
        self.total = 0.0
        self.weight = 0.0

    @abstractmethod
    def update(self, losses: Tensor, weights: Tensor | None = None) -> None:
        """Take the losses (B,) of a batch, and the samples' weights (B,) in the mean; None for equal ones."""

    def compute(self, total: Total = same) -> float:
        """The loss of all batches since `reset`, of every process where ``total`` adds over them."""
        loss, weight = total(torch.tensor([self.total, self.weight], dtype=torch.float64)).tolist()
        return float(loss / weight)

    def reset(self) -> None:
        """Forget all batches."""
        self.total, self.weight = 0.0, 0.0


class SampleMean(ValidationLoss):
    """The mean over samples, unrounded."""

    def update(self, losses: Tensor, weights: Tensor | None = None) -> None:
        """Take the losses (B,) of a batch, and the samples' weights (B,) in the mean; None for equal ones."""
        self.total += float(losses.double().sum() if weights is None else (losses.double() * weights).sum())
        self.weight += losses.numel() if weights is None else float(weights.double().sum())


class RoundedBatchMean(ValidationLoss):
    """The authors' number: the mean of batch means (a short last batch weighs as much as a full one), rounded to 4 digits."""

    def update(self, losses: Tensor, weights: Tensor | None = None) -> None:
        """Take the losses (B,) of a batch, and the samples' weights (B,) in the mean; None for equal ones."""
        self.total += float(losses.mean() if weights is None else (losses * weights).sum() / weights.sum())
        self.weight += 1

    def compute(self, total: Total = same) -> float:
        """The loss of all batches since `reset`, to 4 digits."""
        return round(super().compute(total), 4)
