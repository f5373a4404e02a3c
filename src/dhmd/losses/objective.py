"""The objective: which terms there are, and their weights. A term whose stage is absent is absent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from dhmd.batch import Pairs, Task, edge_pairs
from dhmd.errors import UsageError
from dhmd.losses.decoupling import cycle_loss, orthogonality_loss, reconstruction_loss
from dhmd.losses.graph_distillation import REPRESENTATION, imitation_loss, regularity_loss, repulsion_loss
from dhmd.losses.margin import margin_loss
from dhmd.losses.matching import code_divergence_loss, infonce_loss
from dhmd.losses.task import task_loss
from dhmd.outputs import Outputs, Space

KEYS = (
    *("task_fused", "task_shared", "task_homogeneous", "task_heterogeneous"),
    *("reconstruction", "cycle", "orthogonality", "margin"),
    *("homogeneous_regularity", "homogeneous_logit", "homogeneous_representation", "homogeneous_matching"),
    *("heterogeneous_regularity", "heterogeneous_logit", "heterogeneous_representation", "heterogeneous_matching"),
)
CHOICES = {
    "orthogonality_axis": ("features", "batch"),
    "heterogeneous_representation": ("repel", "repel_mean", "imitate"),
    "matching": ("hinge", "infonce", "code_kl"),
}


FurtherTerm = Callable[[Outputs, Tensor], Tensor]
"""A term of a user's own: outputs of a network and label (B,) to a scalar."""


class Term(NamedTuple):
    """A scalar, the name it is logged under, and the key of its weight."""

    key: str
    name: str
    value: Tensor


class Objective(nn.Module):
    """The weighted sum of every term that a network's outputs allow.

    Args:
        task: what the label is.
        weights: by key (see ``KEYS``); a missing one is 0. A head's task loss has the key of its space.
        margin: scale of the margins of the margin loss and of hinge matching.
        orthogonality_axis: see ``dhmd.losses.decoupling.orthogonality_loss``.
        heterogeneous_representation: ``repel`` per sample, ``repel_mean`` as the authors' code, ``imitate`` as the paper's text.
        matching: ``hinge``, ``infonce`` or ``code_kl``; see ``dhmd.losses.matching``.
        terms: further terms by name: each a function (or module) of outputs and label (B,) that gives a scalar; its weight stands under its
            name in ``weights``.

    Raises:
        UsageError: an unknown key or choice, or a further term without a weight or with a name that is taken.

    Source:
        DMD, CVPR 2023; weights of the presets from the authors' code.
    """

    def __init__(
        self,
        task: Task = "regression",
        *,
        weights: Mapping[str, float],
        margin: float = 0.15,
        orthogonality_axis: Literal["features", "batch"] = "features",
        heterogeneous_representation: Literal["repel", "repel_mean", "imitate"] = "repel",
        matching: Literal["hinge", "infonce", "code_kl"] = "hinge",
        terms: Mapping[str, FurtherTerm] | None = None,
    ) -> None:
        super().__init__()
        self.further = dict(terms or {})
        for name, term in self.further.items():
            if not callable(term):
                raise UsageError(f"objective.terms.{name}: found {term!r}; expected a _target_ that gives a function of outputs and label")
            if name in (*KEYS, "total") or not name.isidentifier():
                raise UsageError(f"objective.terms.{name}: expected a name of its own, of letters, digits and _")
            if name not in weights:
                raise UsageError(f"objective.weights.{name}: not set; a further term needs its weight")
        keys = (*KEYS, *self.further)
        if unknown := sorted(set(weights) - set(keys)):
            raise UsageError(f"objective.weights.{unknown[0]}: no such term; expected among {', '.join(keys)}")
        if wrong := [k for k, v in weights.items() if isinstance(v, bool) or not isinstance(v, (int, float))]:
            raise UsageError(f"objective.weights.{wrong[0]}: found {weights[wrong[0]]!r}; expected a number")
        chosen = {
            "orthogonality_axis": orthogonality_axis,
            "heterogeneous_representation": heterogeneous_representation,
            "matching": matching,
        }
        for key, value in chosen.items():
            if value not in CHOICES[key]:
                raise UsageError(f"objective.{key}: found {value!r}; expected one of {', '.join(CHOICES[key])}")
        self.task, self.margin, self.axis = task, margin, orthogonality_axis
        self.representation, self.matching = heterogeneous_representation, matching
        self.weights = {key: float(weights.get(key, 0.0)) for key in keys}
        self.modules_of_terms = nn.ModuleDict({name: term for name, term in self.further.items() if isinstance(term, nn.Module)})
        if matching == "infonce":
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, outputs: Outputs, label: Tensor) -> dict[str, Tensor]:
        """Every term, unweighted, by name, and their weighted sum as ``total``.

        Args:
            outputs: of a network.
            label: (B,).
        """
        terms = [*self._task(outputs, label), *self._decoupling(outputs, label)]
        for name, space in outputs.spaces.items():
            terms += [*self._distillation(name, space), *self._matching(name, space, label)]
        terms += [Term(name, name, _scalar(name, term(outputs, label))) for name, term in self.further.items()]
        total = sum((self.weights[t.key] * t.value for t in terms if self.weights[t.key]), torch.zeros_like(terms[0].value))
        return {t.name: t.value for t in terms} | {"total": total}

    def _task(self, outputs: Outputs, label: Tensor) -> Iterator[Term]:
        yield Term("task_fused", "task_fused", task_loss(outputs.prediction, label, self.task))
        if outputs.shared_logits is not None:
            yield Term("task_shared", "task_shared", task_loss(outputs.shared_logits, label, self.task))
        for name, space in outputs.spaces.items():
            for m, logits in (space.logits or {}).items():
                yield Term(f"task_{name}", f"task_{name}_{m}", task_loss(logits, label, self.task))

    def _decoupling(self, outputs: Outputs, label: Tensor) -> Iterator[Term]:
        found, masks = outputs.decoupled, outputs.masks
        if found is None:
            return
        values = {
            "reconstruction": reconstruction_loss(found.projected, found.reconstruction, masks),
            "cycle": cycle_loss(found.private, found.cycle, masks),
            "orthogonality": orthogonality_loss(found.private, found.shared, masks, self.axis),
            "margin": margin_loss(found.similarity, label, self.task, self.margin),
        }
        yield from (Term(name, name, value) for name, value in values.items())

    def _distillation(self, name: str, space: Space) -> Iterator[Term]:
        edges = space.edges
        if edges is None or space.logits is None or space.representations is None:
            return
        values = {"logit": imitation_loss(edges.pairs, edges.distillation, space.logits)}
        if edges.weights is not None and edges.prior is not None:
            values["regularity"] = regularity_loss(edges.weights, edges.prior)
        if name == "homogeneous" or self.representation == "imitate":
            representation = imitation_loss(edges.pairs, edges.distillation, space.representations)
        else:
            per_sample = self.representation == "repel"
            representation = repulsion_loss(edges.pairs, edges.distillation, space.representations, per_sample)
        values["representation"] = REPRESENTATION * representation
        yield from (Term(f"{name}_{key}", f"{name}_{key}", value) for key, value in values.items())

    def _matching(self, name: str, space: Space, label: Tensor) -> Iterator[Term]:
        if space.codes is None or space.activations is None:
            return
        if self.matching == "hinge":
            value = margin_loss(space.codes, label, self.task, self.margin)
        elif self.matching == "infonce":
            value = infonce_loss(space.codes, self.log_scale)
        else:
            value = code_divergence_loss(*_pairs_and_weights(space), space.activations)
        yield Term(f"{name}_matching", f"{name}_matching", value)


def _scalar(name: str, value: Tensor) -> Tensor:
    """The value of a further term, seen to be a scalar.

    Raises:
        UsageError: it is none.
    """
    if not isinstance(value, Tensor) or value.dim():
        found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise UsageError(f"objective.terms.{name}: gave {found}; expected a scalar tensor, for example the mean over samples")
    return value


def _pairs_and_weights(space: Space) -> tuple[Pairs, Tensor]:
    """The edges along which activations are matched, and w (B, E); 1 / E each without a Graph Distillation Unit."""
    if space.edges is not None:
        return space.edges.pairs, space.edges.distillation if space.edges.weights is None else space.edges.weights
    pairs = edge_pairs(tuple(space.pooled))
    first = next(iter(space.pooled.values()))
    return pairs, first.new_full((first.shape[0], len(pairs)), 1 / len(pairs))
