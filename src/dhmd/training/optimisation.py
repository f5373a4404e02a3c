"""Optimisation: the optimizer over named parameter groups, its learning-rate schedule, and gradient accumulation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

from torch import nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dhmd.errors import UsageError
from dhmd.models.base import declared_groups
from dhmd.training.accumulation import Accumulation, MeanAccumulation
from dhmd.training.validation_loss import SampleMean, ValidationLoss

Groups = Mapping[str, Sequence[nn.Parameter]]


class Optimisation:
    """An optimizer over named parameter groups, a schedule of its rates, and the accumulation of gradients.

    Args:
        lr: learning rate of every group without its own.
        group_lr: learning rate by parameter group, null for ``lr``.
        group_weight_decay: weight decay by parameter group, null for the optimizer's.
        no_decay: whether biases and the weights of norms have no weight decay: in all groups, in none, or in those listed.
        optimizer: factory of the optimizer from parameter groups (a ``_partial_`` target); None for Adam.
        scheduler: factory of the schedule from the optimizer (a ``_partial_`` target); it also gets the length of training if it has a
            parameter ``total``; None for constant rates.
        interval: unit that the schedule counts, epochs or optimizer steps.
        accumulation: accumulation of micro-batches to steps.
        validation_loss: accumulator of the monitored loss.

    Raises:
        UsageError: a rate is no number from 0 on, or no network has a group.
    """

    def __init__(
        self,
        lr: float = 1e-4,
        group_lr: Mapping[str, float | None] | None = None,
        group_weight_decay: Mapping[str, float | None] | None = None,
        no_decay: bool | Sequence[str] = False,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., Any] | None = None,
        interval: Literal["epoch", "step"] = "epoch",
        accumulation: Accumulation | None = None,
        validation_loss: ValidationLoss | None = None,
    ) -> None:
        if interval not in ("epoch", "step"):
            raise UsageError(f"optimisation.interval: found {interval!r}; expected epoch or step")
        self.lr, self.no_decay, self.interval = lr, no_decay, interval
        self.group_lr = {name: rate for name, rate in (group_lr or {}).items() if rate is not None}
        self.group_weight_decay = {name: decay for name, decay in (group_weight_decay or {}).items() if decay is not None}
        own = {f"group_lr.{name}": rate for name, rate in self.group_lr.items()}
        own |= {f"group_weight_decay.{name}": decay for name, decay in self.group_weight_decay.items()}
        for name, value in {"lr": lr, **own}.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise UsageError(f"optimisation.{name}: found {value!r}; expected a number, 0 or more")
        self._optimizer = optimizer or partial(Adam, fused=True)
        self._scheduler = scheduler or None  # an empty configuration is none
        self.accumulation = accumulation or MeanAccumulation()
        self.validation_loss = validation_loss or SampleMean()

    def check(self, groups: Groups) -> None:
        """Check that every group with its own rate or decay is one of these, or belongs to another network of the suite.

        Raises:
            UsageError: a group is unknown.
        """
        known = {*groups, *declared_groups()}
        listed = {} if isinstance(self.no_decay, bool) else dict.fromkeys(self.no_decay, 0.0)
        for key, own in (("group_lr", self.group_lr), ("group_weight_decay", self.group_weight_decay), ("no_decay", listed)):
            if unknown := sorted(set(own) - known):
                raise UsageError(f"optimisation.{key}: unknown group {unknown[0]!r}; the network has {', '.join(groups)}")

    def optimizer(self, groups: Groups, undecayed: frozenset[int] = frozenset()) -> Optimizer:
        """Return the optimizer with a named group, or two, for each of ``groups``; frozen parameters are left out.

        Args:
            groups: parameters by group.
            undecayed: ids of biases and norms' weights, which ``no_decay`` puts into groups of their own.

        Raises:
            UsageError: no parameter is trained, or the optimizer refuses its options.
        """
        named: list[dict[str, Any]] = []
        for name, parameters in groups.items():
            options = {"lr": self.group_lr.get(name, self.lr)}
            if name in self.group_weight_decay:
                options["weight_decay"] = self.group_weight_decay[name]
            trained = [p for p in parameters if p.requires_grad]
            parted = self.no_decay if isinstance(self.no_decay, bool) else name in self.no_decay
            apart = [p for p in trained if parted and id(p) in undecayed]
            rest = [p for p in trained if not (parted and id(p) in undecayed)]
            named += [{"name": name, "params": rest, **options}] if rest else []
            named += [{"name": f"{name} without decay", "params": apart, **options, "weight_decay": 0.0}] if apart else []
        if not named:
            raise UsageError("optimisation: no parameter is trained; a text encoder may be frozen, a whole network not")
        try:
            return self._optimizer(named)
        except (TypeError, ValueError) as error:
            raise UsageError(f"optimisation.optimizer: {error}") from error

    def scheduler(self, optimizer: Optimizer, total: Callable[[], int]) -> LRScheduler | None:
        """Return the schedule of an optimizer's rates; None for constant ones.

        Args:
            optimizer: optimizer whose rates it sets.
            total: function that returns the length of training in the schedule's interval, for a schedule that needs it.

        Raises:
            UsageError: the schedule refuses its options, or a plateau schedule is to be stepped in every step.
        """
        if self._scheduler is None:
            return None
        asks = "total" in inspect.signature(self._scheduler).parameters
        try:
            scheduler = self._scheduler(optimizer, total=total()) if asks else self._scheduler(optimizer)
        except (TypeError, ValueError) as error:
            raise UsageError(f"optimisation.scheduler: {error}") from error
        if isinstance(scheduler, ReduceLROnPlateau) and self.interval == "step":
            raise UsageError("optimisation.interval: found step; a plateau of the validation loss is seen by epoch: expected epoch")
        found: LRScheduler = scheduler
        return found
