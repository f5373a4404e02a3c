"""The objective: the weighted sum of its terms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from dhmd.batch import FeatureBatch
from dhmd.errors import UsageError
from dhmd.losses.task import TaskLoss
from dhmd.outputs import Outputs

TOTAL = "total"


@runtime_checkable
class Term(Protocol):
    """A term of the objective: a function of a batch's outputs and the batch.

    A term may be a `torch.nn.Module` with parameters, trained in the group that its attribute ``group`` names (``network`` by default),
    and buffers, which are in the checkpoint. During training only, ``begin_epoch(epoch)`` is called at the start of each epoch and
    ``after_backward(outputs, batch, batch_idx)`` after the backward pass of each batch; both methods are optional. With several
    processes, outputs and batch are those of all processes.
    """

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | Mapping[str, Tensor] | None:
        """Return a scalar, several by name, or None if the network lacks the stage that the term is about."""


class Objective(nn.Module):
    """The weighted sum of every term that a network's outputs allow.

    Args:
        task: the task loss, which validation and inference use, too.
        weights: weight of each term, by its name.
        terms: terms by name, in the order of the sum; a null term is absent.

    Attributes:
        task: the task loss.
        terms: terms by name.
        weights: weights by name.

    Raises:
        UsageError: a term has no weight, a weight has no term, or an object is no term.
    """

    def __init__(self, task: TaskLoss, *, weights: Mapping[str, float], terms: Mapping[str, Term | None]) -> None:
        super().__init__()
        for name, term in terms.items():
            if term is not None and not callable(term):
                raise UsageError(f"objective.terms.{name}: found {term!r}; expected a _target_ that gives a function of outputs and batch")
            if name == TOTAL or not name.isidentifier():
                raise UsageError(f"objective.terms.{name}: expected a name of letters, digits and _, other than {TOTAL}")
            if term is not None and name not in weights:
                raise UsageError(f"objective.weights.{name}: not set; each term needs its weight")
        if unknown := sorted(set(weights) - set(terms)):
            raise UsageError(f"objective.weights.{unknown[0]}: no such term; expected among {', '.join(terms)}")
        if wrong := [k for k, v in weights.items() if isinstance(v, bool) or not isinstance(v, (int, float))]:
            raise UsageError(f"objective.weights.{wrong[0]}: found {weights[wrong[0]]!r}; expected a number")
        self.task = task
        self.terms: dict[str, Term] = {name: term for name, term in terms.items() if term is not None}
        self.weights = {name: float(weights[name]) for name in self.terms}
        self.term_modules = nn.ModuleDict({name: term for name, term in self.terms.items() if isinstance(term, nn.Module)})

    def forward(self, outputs: Outputs, batch: FeatureBatch, weights: Mapping[str, float] | None = None) -> dict[str, Tensor]:
        """Return every term, unweighted, by name, and their weighted sum as ``total``.

        A term of several values is logged as ``<term>_<name>``.

        Args:
            outputs: outputs of a network.
            batch: the batch they were computed from, with labels.
            weights: weights of the terms to compute; None for all terms with the objective's own weights.

        Raises:
            UsageError: a term returns no scalar, two terms return values of one name, or no term returns anything.
        """
        weights = self.weights if weights is None else weights
        found = [(name, key, x) for name in self.terms if name in weights for key, x in _scalars(name, self.terms[name](outputs, batch))]
        if not found:
            raise UsageError("objective.terms: none is about what the network returns; expected one at least, for example PredictionLoss")
        source: dict[str, str] = {}
        for name, key, _ in found:
            if (first := source.setdefault(key, name)) != name:
                raise UsageError(f"objective.terms: {first} and {name} both have a value named {key}; expected a name each; rename {name}")
        weighed = (weights[name] * value for name, _, value in found if weights[name])
        return {key: value for _, key, value in found} | {TOTAL: sum(weighed, torch.zeros_like(found[0][2]))}

    def begin_epoch(self, epoch: int) -> None:
        """Call each term's ``begin_epoch`` at the start of a training epoch."""
        self._tell("begin_epoch", self.terms, epoch)

    def after_backward(self, outputs: Outputs, batch: FeatureBatch, batch_idx: int, weights: Mapping[str, float] | None = None) -> None:
        """Call each term's ``after_backward`` after a backward pass; only the terms in ``weights``, if these were given to `forward`."""
        with torch.no_grad():
            self._tell("after_backward", self.terms if weights is None else weights, outputs, batch, batch_idx)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the terms' trained parameters by group."""
        groups: dict[str, list[nn.Parameter]] = {}
        for term in self.term_modules.values():
            if own := [p for p in term.parameters() if p.requires_grad]:
                groups.setdefault(str(getattr(term, "group", "network")), []).extend(own)
        return groups

    def _tell(self, hook: str, names: Iterable[str], *arguments: Any) -> None:
        for name in names:
            if callable(called := getattr(self.terms[name], hook, None)):
                called(*arguments)


def _scalars(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield the scalars that a term returned, each under the name that it is logged by.

    Raises:
        UsageError: a value is no scalar tensor.
    """
    values = {} if value is None else {f"{name}_{key}": x for key, x in value.items()} if isinstance(value, Mapping) else {name: value}
    for key, x in values.items():
        if not isinstance(x, Tensor) or x.dim():
            found = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise UsageError(f"objective.terms.{name}: gave {found}; expected a scalar tensor, for example the mean over samples")
        yield key, x
