"""Losses of a Graph Distillation Unit: distances along its edges, and deviation of the edges from their prior.

Teachers are detached, edge weights are not. Distances are sums over features, then means over the batch.
Source: DMD, CVPR 2023, in the form of the authors' code; the regulariser and the repulsion are in the authors' code only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from dhmd.batch import FeatureBatch, Pairs
from dhmd.losses.decoupling import cosine
from dhmd.losses.stages import SpaceName, space_of
from dhmd.outputs import Outputs

REGULARITY = 10.0
REPRESENTATION = 10.0


def regularity_loss(weights: Tensor, prior: Tensor) -> Tensor:
    """Return 10 times the squared distance between the batch mean of w (B, E) and the prior p (E,)."""
    return REGULARITY * (weights.mean(dim=0) - prior).square().sum()


def imitation_loss(pairs: Pairs, distillation: Tensor, values: Mapping[str, Tensor]) -> Tensor:
    """Return the sum over edges of ``mean_B( W_e |student - teacher|_1 )``.

    Args:
        pairs: (teacher, student) of each edge.
        distillation: (B, E), W.
        values: logits (B, out_dim) or representations (B, H) by modality.
    """
    distances = [(values[student] - values[teacher].detach()).abs().sum(dim=-1) for teacher, student in pairs]
    return (distillation * torch.stack(distances, dim=1)).mean(dim=0).sum()


def repulsion_loss(pairs: Pairs, distillation: Tensor, values: Mapping[str, Tensor], per_sample: bool = True) -> Tensor:
    """Return the sum over edges of mean_B( W_e max(0, cos(student, teacher)) ), which pushes representations apart.

    Args:
        pairs: (teacher, student) of each edge.
        distillation: (B, E), W.
        values: representations (B, H) by modality.
        per_sample: whether to weigh each sample; False, as in the authors' code, for mean_B(W_e) * mean_B(max(0, cos)).
    """
    similar = torch.stack([cosine(values[student], values[teacher].detach()).clamp(min=0) for teacher, student in pairs], dim=1)
    if per_sample:
        return (distillation * similar).mean(dim=0).sum()
    return (distillation.mean(dim=0) * similar.mean(dim=0)).sum()


class Regularity:
    """The term of `regularity_loss`.

    Args:
        space: ``homogeneous`` or ``heterogeneous``.
    """

    def __init__(self, space: SpaceName) -> None:
        self.space = space

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None without learned edges or without their prior."""
        space = space_of(outputs, self.space)
        if space is None or space.edges is None or space.edges.weights is None or space.edges.prior is None or not space.logits:
            return None
        return regularity_loss(space.edges.weights, space.edges.prior)


class LogitDistillation:
    """The term of `imitation_loss` between the logits of a space's unimodal heads.

    Args:
        space: ``homogeneous`` or ``heterogeneous``.
    """

    def __init__(self, space: SpaceName) -> None:
        self.space = space

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None without a Graph Distillation Unit."""
        space = space_of(outputs, self.space)
        if space is None or space.edges is None or space.logits is None:
            return None
        return imitation_loss(space.edges.pairs, space.edges.distillation, space.logits)


class RepresentationDistillation:
    """Ten times the distance or the similarity of representations along a space's edges.

    Args:
        space: ``homogeneous`` or ``heterogeneous``.
        kind: ``imitate``, `imitation_loss` (the paper's text); ``repel``, `repulsion_loss` by sample; ``repel_mean``, as the authors' code.
    """

    def __init__(self, space: SpaceName, kind: Literal["imitate", "repel", "repel_mean"] = "imitate") -> None:
        self.space, self.kind = space, kind

    def __call__(self, outputs: Outputs, batch: FeatureBatch) -> Tensor | None:
        """Return the loss, a scalar; None without a Graph Distillation Unit."""
        space = space_of(outputs, self.space)
        if space is None or space.edges is None or space.representations is None:
            return None
        edges = space.edges
        if self.kind == "imitate":
            return REPRESENTATION * imitation_loss(edges.pairs, edges.distillation, space.representations)
        return REPRESENTATION * repulsion_loss(edges.pairs, edges.distillation, space.representations, per_sample=self.kind == "repel")
