"""The dictionary of the fine distillation: entries shared by the modalities of a space, and each modality's sparse use of them.

Source: the dictionary block that public code related to DHMD adds to DMD, after Chen et al., "Revisiting Multimodal Representation
in Contrastive Learning: From Patch and Token Embeddings to Finite Discrete Tokens", CVPR 2023. DHMD's own equations were not available.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from dhmd.nn.sparsemax import sparsemax
from dhmd.nn.temporal import cut, masked_mean

Activation = Literal["sparsemax", "softmax", "sigmoid"]
Pool = Literal["max", "mean", "sum"]


class Codes(NamedTuple):
    """Output of a dictionary for a space: activations (B, K) and L2-normalised codes (B, D) by modality."""

    activations: dict[str, Tensor]
    codes: dict[str, Tensor]


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(dim=-1)


def _normalised_sigmoid(scores: Tensor) -> Tensor:
    gate = scores.sigmoid()
    return gate / gate.sum(dim=-1, keepdim=True)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"sparsemax": sparsemax, "softmax": _softmax, "sigmoid": _normalised_sigmoid}


def _max(queries: Tensor, entries: Tensor, mask: Tensor | None) -> Tensor:
    with torch.no_grad():  # best frame of each entry; gradients then concern that frame only, not all scores
        scores = entries @ queries.mT
        if mask is not None:
            scores = scores + torch.where(mask, 0.0, -math.inf).unsqueeze(1)
        best = scores.argmax(dim=2)
    frames = queries.gather(1, best.unsqueeze(2).expand(-1, -1, queries.shape[2]))
    return (frames * entries).sum(dim=2)


def _mean(queries: Tensor, entries: Tensor, mask: Tensor | None) -> Tensor:
    return masked_mean(queries, mask) @ entries.T


def _sum(queries: Tensor, entries: Tensor, mask: Tensor | None) -> Tensor:
    return (queries if mask is None else queries * mask.unsqueeze(-1)).sum(dim=1) @ entries.T


POOLS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {"max": _max, "mean": _mean, "sum": _sum}
"""Pooling functions: queries (B, T, D), entries (K, D) and mask (B, T) to each entry's scores pooled over the real frames, (B, K)."""


class SharedDictionary(nn.Module):
    """A dictionary D (K x D) shared by the modalities, with a query network for each.

    S = Q_m(X_m) D^T / (sqrt(D) tau); a_m = act(pool_t S); r_m = a_m D; the code is r_m / max(||r_m||, 1e-10).

    Args:
        modalities: names of the modalities, in order.
        in_dim: width of the sequences.
        entries: number of entries K.
        width: width D of an entry and a code; None for ``in_dim``.
        activation: activation function over the entries.
        pool: pooling over the real frames, before the activation.
        temperature: tau.
        detach: whether to stop the gradient at the sequences, so that matching trains only dictionary and query networks.
        init: initialisation of the entries, from N(0, 1) or by Xavier's rule.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        in_dim: int,
        entries: int = 512,
        width: int | None = None,
        activation: Activation = "sparsemax",
        pool: Pool = "max",
        temperature: float = 2.0,
        detach: bool = True,
        init: Literal["normal", "xavier"] = "normal",
    ) -> None:
        super().__init__()
        width = in_dim if width is None else width
        self.width, self.detach = width, detach
        self.scale = 1 / (math.sqrt(width) * temperature)
        self.activation, self.pool = ACTIVATIONS[activation], POOLS[pool]
        self.entries = nn.Parameter(torch.empty(entries, width))
        if init == "normal":
            nn.init.normal_(self.entries)
        else:
            nn.init.xavier_normal_(self.entries)
        self.query = nn.ModuleDict(
            {
                m: nn.Sequential(nn.LayerNorm(in_dim), nn.Linear(in_dim, width), nn.GELU(), nn.LayerNorm(width), nn.Linear(width, width))
                for m in modalities
            }
        )

    def activate(self, modality: str, sequence: Tensor, mask: Tensor | None) -> Tensor:
        """Return the activations (B, K) of a modality's sequence (B, T, in_dim); 0 for a sample without a real frame."""
        pooled = self.pool(self.query[modality](sequence), self.entries, mask) * self.scale
        if mask is None:
            return self.activation(pooled)
        present = mask.any(dim=1, keepdim=True)
        return self.activation(torch.where(present, pooled, 0)) * present

    def forward(self, sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> Codes:
        """Return activations and codes of sequences (B, T_m, in_dim) by modality."""
        short = cut({m: x.detach() if self.detach else x for m, x in sequences.items()}, masks)
        activations = {m: self.activate(m, x, short.masks[m]) for m, x in short.sequences.items()}
        raw = {m: a @ self.entries for m, a in activations.items()}
        return Codes(activations, {m: r / r.norm(dim=-1, keepdim=True).clamp(min=1e-10) for m, r in raw.items()})


class NoDictionary(nn.Module):
    """Replacement for an absent dictionary: no activations, no codes."""

    width = 0

    def forward(self, sequences: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> Codes:
        """Return no codes."""
        return Codes({}, {})
