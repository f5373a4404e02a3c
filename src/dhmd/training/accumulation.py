"""How the gradients of several micro-batches become one step of the optimiser.

Lightning averages over the window it was told, and clips once. The DMD authors sum, clip the running sum after every backward pass, and
lose the last micro-batches of an epoch (docs/deviations.md). Both are objects here; the training
step only says "here is a loss" and "this was the last batch of the epoch".
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_value_

Backward = Callable[[Tensor], None]


class Accumulation(ABC):
    """A window of micro-batches on its way to one optimiser step.

    Args:
        batches: micro-batches in a window, at least 1.
        clip_value: gradients are clipped to [-clip_value, clip_value]; None leaves them.
    """

    def __init__(self, batches: int = 1, clip_value: float | None = None) -> None:
        if batches < 1:
            raise ValueError(f"batches: found {batches}, expected at least 1")
        if clip_value is not None and clip_value <= 0:
            raise ValueError(f"clip_value: found {clip_value}, expected a positive number, or null for no clipping")
        self.batches = batches
        self.clip_value = clip_value
        self.seen = 0

    @abstractmethod
    def add(self, loss: Tensor, backward: Backward, optimizer: Any, last: bool) -> None:
        """Take one micro-batch's loss; step the optimiser where the window or the epoch ends.

        Args:
            loss: scalar.
            backward: computes gradients of a scalar, adding to the ``grad`` of the optimiser's parameters.
            optimizer: the optimiser.
            last: whether this is the epoch's last micro-batch.
        """

    def state(self, parameters: Iterable[Tensor]) -> dict[str, Any]:
        """Where the window stands, for a checkpoint: the number of micro-batches and, inside a window, the gradients so far."""
        gradients = [None if p.grad is None else p.grad.detach().clone() for p in parameters] if self.seen else []
        return {"seen": self.seen, "gradients": gradients}

    def restore(self, state: dict[str, Any], parameters: Iterable[Tensor]) -> None:
        """Continue from `state`, with parameters in the same order."""
        self.seen = int(state["seen"])
        if self.seen:
            for p, gradient in zip(parameters, state["gradients"], strict=True):
                p.grad = None if gradient is None else gradient.to(device=p.device, dtype=p.dtype)

    def _clip(self, optimizer: Any) -> None:
        if self.clip_value is not None:
            clip_grad_value_(_parameters(optimizer), self.clip_value)

    def _step(self, optimizer: Any) -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        self.seen = 0


class MeanAccumulation(Accumulation):
    """The mean of the window's gradients, clipped once, then a step; a shorter window at the epoch's end is stepped as its own mean."""

    def add(self, loss: Tensor, backward: Backward, optimizer: Any, last: bool) -> None:
        """Sum gradients; at the window's or the epoch's end divide by their number, clip and step."""
        backward(loss)
        self.seen += 1
        if self.seen == self.batches or last:
            gradients = [p.grad for p in _parameters(optimizer) if p.grad is not None]
            torch._foreach_div_(gradients, float(self.seen))
            self._clip(optimizer)
            self._step(optimizer)


class SumAccumulation(Accumulation):
    """The authors' way: the sum, clipped after every backward pass; what is left at the epoch's end is thrown away."""

    def add(self, loss: Tensor, backward: Backward, optimizer: Any, last: bool) -> None:
        """Sum gradients and clip the sum; step at the window's end only."""
        backward(loss)
        self._clip(optimizer)
        self.seen += 1
        if self.seen == self.batches:
            self._step(optimizer)
        elif last:
            optimizer.zero_grad(set_to_none=True)
            self.seen = 0


def _parameters(optimizer: Any) -> list[Tensor]:
    return [p for group in optimizer.param_groups for p in group["params"]]
