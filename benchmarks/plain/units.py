"""The Graph Distillation Unit in the authors' manner: edges one after another, tensors (modality or edge, B, ...)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EDGES = ((0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1))
"""(student, teacher) by number of l, v, a."""
PRIORS = {"homo": (0.0, 0.0, 1.0, 0.0, 1.0, 0.0), "hetero": (0.0, 0.0, 1.0, 0.0, 1.0, 1.0)}


class GraphDistillation(nn.Module):
    """Learned weights on the six edges, and the losses along them.

    Args:
        space: ``homo`` or ``hetero``, which determines the prior.
        repr_dim: width H of a representation.
        width: width g of the unit.
    """

    def __init__(self, space: str, repr_dim: int, width: int) -> None:
        super().__init__()
        self.W_logit = nn.Linear(1, width)
        self.W_repr = nn.Linear(repr_dim, width)
        self.W_edge = nn.Linear(4 * width, 1)
        self.space = space
        self.register_buffer("prior", torch.softmax(torch.tensor(PRIORS[space]) / 0.25, dim=0), persistent=False)

    def forward(self, logits: Tensor, reprs: Tensor) -> Tensor:
        """Return edge weights (6, B) from logits (3, B, 1) and representations (3, B, H)."""
        z = torch.cat([self.W_logit(logits), self.W_repr(reprs)], dim=2)
        scores = [self.W_edge(torch.cat([z[student], z[teacher]], dim=1)) for student, teacher in EDGES]
        return torch.softmax(torch.cat(scores, dim=1).transpose(0, 1) / 8, dim=0)

    def losses(self, logits: Tensor, reprs: Tensor, edges: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return regulariser, distance of logits and of representations, unweighted."""
        prior: Tensor = self.get_buffer("prior")
        regularity = 10 * (edges.mean(dim=1) - prior).square().sum()
        weight = edges + prior.unsqueeze(1)
        logit = torch.zeros((), device=logits.device)
        representation = torch.zeros((), device=logits.device)
        for e, (student, teacher) in enumerate(EDGES):
            logit = logit + (weight[e] * (logits[student] - logits[teacher].detach()).abs().sum(dim=1)).mean()
            if self.space == "homo":
                representation = representation + (weight[e] * (reprs[student] - reprs[teacher].detach()).abs().sum(dim=1)).mean()
            else:
                target = torch.full((reprs.shape[1],), -1.0, device=reprs.device)
                apart = F.cosine_embedding_loss(reprs[student], reprs[teacher].detach(), target)
                representation = representation + (weight[e] * apart).mean()
        return regularity, logit, 10 * representation
