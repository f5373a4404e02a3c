"""Matching losses of the fine distillation: they align the modalities' codes in a space's dictionary.

DHMD's own loss was not available. ``hinge`` and ``infonce`` are those of public related code; ``code_kl`` is this project's proposal
of a literal fine-grained distillation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dhmd.batch import FeatureBatch, FeatureSpec, Pairs, edge_pairs
from dhmd.losses.margin import margin_loss
from dhmd.losses.stages import SpaceName, space_of
from dhmd.outputs import Outputs

if TYPE_CHECKING:
    from dhmd.models.dmd.outputs import Space

SMOOTHING = 1e-4
MAX_SCALE = 100.0


def infonce_loss(codes: Mapping[str, Tensor], log_scale: Tensor) -> Tensor:
    """Return the sum over pairs of modalities of the symmetric InfoNCE: a sample's two codes match, those of other samples do not.

    Args:
        codes: (B, D) by modality, L2-normalised.
        log_scale: scalar, log of the inverse temperature; exp of it is capped at 100.

    Source:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
    """
    scale = log_scale.exp().clamp(max=MAX_SCALE)
    losses = []
    for a, b in combinations(codes.values(), 2):
        logits = scale * a @ b.T
        target = torch.arange(len(a), device=a.device)
        losses.append((F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2)
    return torch.stack(losses).sum()


def code_divergence_loss(pairs: Pairs, weights: Tensor, activations: Mapping[str, Tensor]) -> Tensor:
    """Return the sum over edges of mean_B( w_e JS(a_student, teacher's a) ), the teacher and the edge weights detached.

    The Jensen-Shannon divergence is in bits (0 to 1), on activations smoothed by 1e-4: sparse ones rarely overlap, and a
    Kullback-Leibler divergence would be infinite.

    Args:
        pairs: (teacher, student) of each edge.
        weights: (B, E), w.
        activations: (B, K) by modality, non-negative.
    """
    smooth = {m: _smoothed(a) for m, a in activations.items()}
    found = torch.stack([_jensen_shannon(smooth[student], smooth[teacher].detach()) for teacher, student in pairs], dim=1)
    return (weights.detach() * found).mean(dim=0).sum()


def _smoothed(a: Tensor) -> Tensor:
    a = a + SMOOTHING
    return a / a.sum(dim=-1, keepdim=True)


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    log_mean = ((p + q) / 2).log2()
    return ((p * (p.log2() - log_mean)).sum(-1) + (q * (q.log2() - log_mean)).sum(-1)) / 2


class Matching(nn.Module):
    """The matching of the modalities' codes or activations in a space's dictionary.

    Args:
        spec: specification of the data.
        space: ``homogeneous`` or ``heterogeneous``.
        loss: ``hinge``, `dhmd.losses.margin.margin_loss` on codes; ``infonce``, `infonce_loss`; ``code_kl``, `code_divergence_loss`.
        margin: scale of the margins of ``hinge``.
    """

    group = "dictionaries"

    def __init__(
        self, spec: FeatureSpec, space: SpaceName, loss: Literal["hinge", "infonce", "code_kl"] = "hinge", margin: float = 0.15
    ) -> None:
        super().__init__()
        self.task, self.space, self.loss, self.margin = spec.task, space, loss, margin
        if loss == "infonce":
            self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None without a dictionary."""
        space = space_of(outputs, self.space)
        if space is None or space.codes is None or space.activations is None:
            return None
        if self.loss == "hinge":
            return margin_loss(space.codes, batch.labels, self.task, self.margin)
        if self.loss == "infonce":
            return infonce_loss(space.codes, self.log_scale)
        return code_divergence_loss(*_pairs_and_weights(space), space.activations)


def _pairs_and_weights(space: Space) -> tuple[Pairs, Tensor]:
    """Return the edges along which activations are matched, and w (B, E); 1 / E each without a Graph Distillation Unit."""
    if space.edges is not None:
        return space.edges.pairs, space.edges.distillation if space.edges.weights is None else space.edges.weights
    pairs = edge_pairs(tuple(space.pooled))
    first = next(iter(space.pooled.values()))
    return pairs, first.new_full((first.shape[0], len(pairs)), 1 / len(pairs))
