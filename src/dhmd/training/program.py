"""How a module's forward and backward passes are run: alone, or with those of replicas as one program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import chain
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from dhmd.batch import FeatureBatch
from dhmd.errors import RunError, UsageError
from dhmd.losses.objective import Objective, Term
from dhmd.nn.replicas import side_by_side
from dhmd.outputs import Outputs, map_samples
from dhmd.training.gathering import Gathering

Found = tuple[Outputs, dict[str, Tensor]]
"""Outputs for a batch, and the terms of the objective by name, with their weighted sum as ``total``."""


class Program(Protocol):
    """Runs what costs time in a step."""

    def forward(self, network: nn.Module, objective: nn.Module, batch: FeatureBatch) -> Found:
        """Outputs and losses of a batch with labels."""

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss to those of the parameters it was computed from."""

    def end_of_validation(self) -> None:
        """Called once after the last batch of a validation pass."""

    def end_of_training(self) -> None:
        """Called once after the last epoch."""


class Alone:
    """A program of one network; with several processes, over the whole batch of all of them."""

    def __init__(self) -> None:
        self._gathering = Gathering()

    def forward(self, network: nn.Module, objective: nn.Module, batch: FeatureBatch) -> Found:
        """Outputs of this process's batch, and losses of the whole one."""
        outputs: Outputs = network(batch)
        return outputs, objective(*self._gathering.whole(outputs, label_of(batch)))

    def backward(self, loss: Tensor) -> None:
        """Backward."""
        loss.backward()  # type: ignore[no-untyped-call]

    def end_of_validation(self) -> None:
        """Take part in what other processes still gather."""
        self._gathering.finish()

    def end_of_training(self) -> None:
        """Nobody waits."""


class Pair(nn.Module):
    """A network and its objective, as one function of a batch.

    Attributes:
        draws: whether a pass draws from the process's own generators, as far as known: in training (True), in evaluation (False).
    """

    def __init__(self, network: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective
        self._unequal: dict[tuple[int, ...], set[str]] = {}
        self.draws: dict[bool, bool] = {}
        for name, module in network.named_modules():
            if isinstance(module, _BatchNorm):
                raise UsageError(
                    f"trainer.replicas: {name or type(network).__name__} is a BatchNorm, whose running means are one program's; use 1"
                )

    def names_apart(self, pairs: Sequence[Pair]) -> list[str]:
        """What each of the pairs has for itself: parameters that some train, and what else is not equal in all."""
        fixed = {name: x for name, x in chain(self.named_parameters(), self.named_buffers()) if not x.requires_grad}
        others = tuple(id(pair) for pair in pairs)
        if others not in self._unequal:  # looked at once: nothing changes them
            theirs = [dict(chain(pair.named_parameters(), pair.named_buffers())) for pair in pairs]
            self._unequal[others] = {name for name, x in fixed.items() if not all(torch.equal(x, one[name]) for one in theirs)}
        trained = {name: None for pair in pairs for name, p in pair.named_parameters() if p.requires_grad}
        return [*trained, *(name for name in self._unequal[others] if name not in trained)]

    def forward(self, batch: FeatureBatch) -> tuple[Outputs, list[Term]]:
        """Outputs and unweighted terms."""
        outputs: Outputs = self.network(batch)
        return outputs, self.objective.terms(outputs, label_of(batch))


def forward_together(pairs: Sequence[Pair], batches: Sequence[FeatureBatch], generators: Sequence[torch.Generator]) -> list[Found]:
    """What K replicas give for a batch each, computed at once.

    Args:
        pairs: of one make: they differ in their weights and in those of their terms.
        batches: of one shape.
        generators: what each replica's dropout is drawn from (on a CPU).

    Returns:
        For each replica what it gives alone, up to rounding.
    """
    own = [dict(chain(pair.named_parameters(), pair.named_buffers())) for pair in pairs]
    weights = {name: torch.stack([one[name] for one in own]) for name in pairs[0].names_apart(pairs)}
    given = [x.name for x in fields(FeatureBatch) if x.name != "encoded" and getattr(batches[0], x.name) is not None]
    data = {name: _stacked([getattr(batch, name) for batch in batches]) for name in given}
    templates: list[tuple[Outputs, list[Term]]] = []

    def one(weights: dict[str, Tensor], data: dict[str, object]) -> tuple[Tensor, ...]:
        batch = FeatureBatch(**data, encoded=batches[0].encoded)  # type: ignore[arg-type]
        outputs, terms = functional_call(pairs[0], weights, (batch,))
        templates.append((outputs, terms))
        leaves: list[Tensor] = []
        map_samples(outputs, leaves.append)
        return (*(t.value for t in terms), *leaves)

    with side_by_side(generators):
        found = torch.vmap(one, randomness="different")(weights, data)
    outputs, terms = templates[0]
    values, leaves = found[: len(terms)], found[len(terms) :]
    return [
        (
            _of_one(outputs, [leaf[k] for leaf in leaves]),
            pair.objective.weighted([term._replace(value=value[k]) for term, value in zip(terms, values, strict=True)]),
        )
        for k, pair in enumerate(pairs)
    ]


def label_of(batch: FeatureBatch) -> Tensor:
    """Its labels.

    Raises:
        RunError: it has none.
    """
    if batch.label is None:
        raise RunError("the data has no labels; training and evaluation need them")
    return batch.label


def _of_one(outputs: Outputs, leaves: Sequence[Tensor]) -> Outputs:
    left = iter(leaves)
    own: Outputs = map_samples(outputs, lambda _: next(left))
    return own


def _stacked(values: Sequence[object]) -> object:
    first = values[0]
    if isinstance(first, Tensor):
        return torch.stack(values)  # type: ignore[arg-type]
    if isinstance(first, dict):
        return {key: _stacked([value[key] for value in values]) for key in first}  # type: ignore[index]
    return first
