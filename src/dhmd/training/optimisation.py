"""The optimiser's parameter groups and the learning-rate schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from dhmd.errors import UsageError
from dhmd.training.accumulation import Accumulation, MeanAccumulation
from dhmd.training.validation_loss import SampleMean, ValidationLoss

GROUPS = ("text_encoder", "network", "graph_units", "dictionaries")
"""The parameter groups there can be; a network has those of the stages it has."""


class Optimisation:
    """Adam over named groups, ReduceLROnPlateau on the validation loss, and how gradients accumulate.

    Args:
        lr: learning rate of every group without its own.
        group_lr: learning rate by group name, null for ``lr``.
        weight_decay: Adam's L2 penalty (0: the authors' configured value is read by nobody in their code).
        factor: by which the learning rate shrinks when the validation loss stagnates.
        patience: epochs without a gain that are tolerated before it shrinks.
        accumulation: from micro-batches to steps.
        validation_loss: from batches to the monitored number.
    """

    def __init__(
        self,
        lr: float = 1e-4,
        group_lr: Mapping[str, float | None] | None = None,
        weight_decay: float = 0.0,
        factor: float = 0.5,
        patience: int = 5,
        accumulation: Accumulation | None = None,
        validation_loss: ValidationLoss | None = None,
    ) -> None:
        unknown = set(group_lr or {}) - set(GROUPS)
        if unknown:
            raise UsageError(f"optimisation.group_lr: unknown group {sorted(unknown)}, expected some of {list(GROUPS)}")
        rates = {"lr": lr, **{f"group_lr.{name}": value for name, value in (group_lr or {}).items() if value is not None}}
        for name, value in {**rates, "weight_decay": weight_decay}.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise UsageError(f"optimisation.{name}: found {value!r}; expected a number, 0 or more")
        if not 0 < factor < 1:
            raise UsageError(f"optimisation.factor: found {factor}; expected a number between 0 and 1")
        if patience < 0:
            raise UsageError(f"optimisation.patience: found {patience}; expected 0 or more epochs")
        self.lr = lr
        self.group_lr = dict(group_lr or {})
        self.weight_decay = weight_decay
        self.factor = factor
        self.patience = patience
        self.accumulation = accumulation or MeanAccumulation()
        self.validation_loss = validation_loss or SampleMean()

    def optimizer(self, groups: Mapping[str, Sequence[nn.Parameter]]) -> Adam:
        """Adam with one named group a key of ``groups``, fused; frozen parameters are left out.

        Raises:
            UsageError: a group of another name than `GROUPS`.
        """
        unknown = set(groups) - set(GROUPS)
        if unknown:
            raise UsageError(f"the network has parameter groups {sorted(unknown)}, expected some of {list(GROUPS)}")
        named: list[dict[str, Any]] = []
        for name, parameters in groups.items():
            trained = [p for p in parameters if p.requires_grad]
            if trained:
                own = self.group_lr.get(name)
                named.append({"name": name, "params": trained, "lr": self.lr if own is None else own})
        return Adam(named, weight_decay=self.weight_decay, fused=True)

    def scheduler(self, optimizer: Adam) -> ReduceLROnPlateau:
        """Halve (``factor``) every group's rate after ``patience`` epochs without a lower validation loss."""
        return ReduceLROnPlateau(optimizer, mode="min", factor=self.factor, patience=self.patience)
