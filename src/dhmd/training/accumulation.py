"""Accumulation of the gradients of several micro-batches into one step of the optimizer.

Lightning averages over a fixed window and clips once. The DMD authors sum, clip the running sum after every backward pass, and lose the
last micro-batches of an epoch (docs/deviations.md). Both are classes here; the training step only passes a loss and whether the batch is
the last one of the epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

Backward = Callable[[Tensor], None]


class Accumulation(ABC):
    """A window of micro-batches for one optimizer step.

    Args:
        batches: number of micro-batches in a window, at least 1.
        clip_value: gradients are clipped to [-clip_value, clip_value]; None leaves them.
        clip_norm: gradients are scaled so that their norm is ``clip_norm`` at most; None leaves them.
    """

    def __init__(self, batches: int = 1, clip_value: float | None = None, clip_norm: float | None = None) -> None:
        if batches < 1:
            raise ValueError(f"batches: found {batches}, expected at least 1")
        for name, value in (("clip_value", clip_value), ("clip_norm", clip_norm)):
            if value is not None and value <= 0:
                raise ValueError(f"{name}: found {value}, expected a positive number, or null for no clipping")
        if clip_value is not None and clip_norm is not None:
            raise ValueError(
                f"clip_value={clip_value} and clip_norm={clip_norm}: gradients are clipped by one of them; set the other to null"
            )
        self.batches = batches
        self.clip_value, self.clip_norm = clip_value, clip_norm
        self.seen = 0

    @abstractmethod
    def add(self, loss: Tensor, backward: Backward, optimizer: Any, last: bool, clipped: Sequence[Tensor] | None = None) -> bool:
        """Add one micro-batch's loss; step the optimizer when the window or the epoch ends.

        Args:
            loss: scalar.
            backward: computes gradients of a scalar, adding to the ``grad`` of the optimizer's parameters.
            optimizer: the optimizer.
            last: whether this is the epoch's last micro-batch.
            clipped: parameters whose gradients are clipped together; None for the optimizer's.

        Returns:
            True if the optimizer has made a step.
        """

    def steps(self, batches: int) -> int:
        """Return the number of steps in a pass over ``batches`` micro-batches."""
        return -(-batches // self.batches)

    def state(self, parameters: Iterable[Tensor]) -> dict[str, Any]:
        """Return the state of the window for a checkpoint: the number of micro-batches and, inside a window, the gradients so far."""
        gradients = [None if p.grad is None else p.grad.detach().clone() for p in parameters] if self.seen else []
        return {"seen": self.seen, "gradients": gradients}

    def restore(self, state: dict[str, Any], parameters: Iterable[Tensor]) -> None:
        """Continue from `state`, with parameters in the same order."""
        self.seen = int(state["seen"])
        if self.seen:
            for p, gradient in zip(parameters, state["gradients"], strict=True):
                p.grad = None if gradient is None else gradient.to(device=p.device, dtype=p.dtype)

    def _clip(self, parameters: Sequence[Tensor]) -> None:
        if self.clip_value is not None:
            clip_grad_value_(parameters, self.clip_value)
        if self.clip_norm is not None:
            clip_grad_norm_(parameters, self.clip_norm)

    def _step(self, optimizer: Any) -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.seen = 0


class MeanAccumulation(Accumulation):
    """Accumulation of the mean gradient, clipped once per step; a shorter window at the epoch's end is stepped with its own mean."""

    def add(self, loss: Tensor, backward: Backward, optimizer: Any, last: bool, clipped: Sequence[Tensor] | None = None) -> bool:
        """Sum gradients; at the end of the window or the epoch divide by their number, clip and step."""
        backward(loss)
        self.seen += 1
        if self.seen < self.batches and not last:
            return False
        parameters = _parameters(optimizer) if clipped is None else clipped
        torch._foreach_div_([p.grad for p in parameters if p.grad is not None], float(self.seen))
        self._clip(parameters)
        self._step(optimizer)
        return True


class SumAccumulation(Accumulation):
    """The authors' accumulation: the sum, clipped after every backward pass; micro-batches left at the epoch's end are dropped."""

    def steps(self, batches: int) -> int:
        """Return the number of steps in a pass over ``batches`` micro-batches."""
        return batches // self.batches

    def add(self, loss: Tensor, backward: Backward, optimizer: Any, last: bool, clipped: Sequence[Tensor] | None = None) -> bool:
        """Sum gradients and clip the sum; step at the window's end only."""
        backward(loss)
        self._clip(_parameters(optimizer) if clipped is None else clipped)
        self.seen += 1
        if self.seen == self.batches:
            self._step(optimizer)
            return True
        if last:
            optimizer.zero_grad(set_to_none=True)
            self.seen = 0
        return False


def _parameters(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
