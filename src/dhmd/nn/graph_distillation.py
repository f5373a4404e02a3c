"""The Graph Distillation Unit: learned weights on the edges between modalities, along which they teach each other.

Source: DMD (Li et al., CVPR 2023) as the authors' code has it; the prior and the scale of the softmax come from Luo et al.,
"Graph Distillation for Action Detection with Privileged Modalities", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, nan
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from dhmd.batch import edge_pairs

EdgeKind = Literal["learned", "fixed", "uniform"]
SCALE = 1 / 8  # of edge scores before the softmax
PRIOR_TEMPERATURE = 0.25


class EdgeWeights(NamedTuple):
    """Fields of ``dhmd.outputs.Edges``: learned w (B, E) or None, the weight of each distance (B, E), prior (E,) or None."""

    weights: Tensor | None
    distillation: Tensor
    prior: Tensor | None


def edge_prior(modalities: tuple[str, ...], named: Mapping[str, float], groups: int = 1) -> Tensor:
    """Return the prior softmax(v / 0.25), v from a map "teacher->student: value", 0 for an edge that is not named.

    Args:
        modalities: names of the modalities, in order.
        named: the map.
        groups: 1 for a softmax over all edges, the number of modalities for one over each student's edges.

    Returns:
        (E,) in the order of ``dhmd.batch.edge_pairs``.

    Raises:
        ValueError: a name is no edge, or a value is no finite number.
    """
    names = [f"{teacher}->{student}" for teacher, student in edge_pairs(modalities)]
    if unknown := sorted(set(named) - set(names)):
        raise ValueError(f"no such edge in the prior: {', '.join(unknown)}; expected among {', '.join(names)}")
    if odd := [n for n, v in named.items() if isinstance(v, bool) or not isinstance(v, int | float) or not isfinite(v)]:
        raise ValueError(f"the prior of {odd[0]}: found {named[odd[0]]!r}, expected a finite number")
    values = torch.tensor([float(named.get(n, 0.0)) for n in names], dtype=torch.float64)
    return grouped_softmax(values / PRIOR_TEMPERATURE, groups).float()


def prior_of_text(text: str) -> dict[str, float]:
    """Return the map that a text like ``language->vision: 1, language->gesture: 0.5`` writes; ``uniform`` writes the empty one.

    Raises:
        ValueError: a part is not "teacher->student: number", or an edge occurs twice.
    """
    named: dict[str, float] = {}
    for part in [] if text.strip() == "uniform" else text.split(","):
        edge, _, value = part.partition(":")
        ends = [end.strip() for end in edge.split("->")]
        try:
            number = float(value)
        except ValueError:
            number = nan
        if len(ends) != 2 or not all(ends) or not isfinite(number):
            raise ValueError(
                f"in the prior: found {part.strip()!r}, expected teacher->student: number, several with commas between them, or uniform"
            )
        name = "->".join(ends)
        if name in named:
            raise ValueError(f"in the prior: {name} is there twice")
        named[name] = number
    return named


def grouped_softmax(scores: Tensor, groups: int) -> Tensor:
    """Apply softmax within each of ``groups`` equal runs of the last axis."""
    return scores.reshape(*scores.shape[:-1], groups, -1).softmax(dim=-1).reshape(scores.shape)


class GraphDistillationUnit(nn.Module):
    """Edge weights from the modalities' logits and representations.

    z_m = [W_logit logit_m ; W_repr repr_m]; the score of student j <- teacher i is W_edge [z_j ; z_i]; w = softmax(score / 8).

    Args:
        modalities: names of the modalities, in order.
        logit_dim: width of a logit.
        repr_dim: H.
        width: g.
        edges: ``learned`` w with the prior added (W = w + p); ``fixed``, the prior alone; ``uniform``, 1 / E each.
        softmax_over: ``all`` edges together (authors' code), or the edges of each ``student``, which then sum to 1; the prior likewise.
        prior: map "teacher->student: value" (empty: uniform), or None for none: then W = w.
    """

    prior: Tensor | None

    def __init__(
        self,
        modalities: tuple[str, ...],
        logit_dim: int,
        repr_dim: int,
        width: int,
        edges: EdgeKind = "learned",
        softmax_over: Literal["all", "student"] = "all",
        prior: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        if edges == "fixed" and prior is None:
            raise ValueError("edges: fixed needs a prior; give one (an empty map is the uniform one) or choose edges: uniform")
        self.modalities, self.edges = modalities, edges
        self.pairs = edge_pairs(modalities)
        self.groups = len(modalities) if softmax_over == "student" else 1
        self.register_buffer(
            "prior", None if prior is None or edges == "uniform" else edge_prior(modalities, prior, self.groups), persistent=False
        )
        if edges == "learned":
            self.logit = nn.Linear(logit_dim, width)
            self.representation = nn.Linear(repr_dim, width)
            self.edge = nn.Linear(4 * width, 1)

    def forward(self, logits: Mapping[str, Tensor], representations: Mapping[str, Tensor]) -> EdgeWeights:
        """Weigh the edges of each sample from logits (B, out_dim) and representations (B, H) by modality."""
        first = logits[self.modalities[0]]
        if self.edges != "learned":
            fixed = first.new_full((len(self.pairs),), 1 / len(self.pairs)) if self.prior is None else self.prior
            return EdgeWeights(None, fixed.expand(first.shape[0], -1), self.prior)
        z = {m: torch.cat([self.logit(logits[m]), self.representation(representations[m])], dim=-1) for m in self.modalities}
        ends = torch.stack([torch.cat([z[student], z[teacher]], dim=-1) for teacher, student in self.pairs], dim=1)
        scores = self.edge(ends).squeeze(-1) * SCALE
        weights = grouped_softmax(scores, self.groups)
        return EdgeWeights(weights, weights if self.prior is None else weights + self.prior, self.prior)
