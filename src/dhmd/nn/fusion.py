"""Prediction heads, and fusion of features, codes and modalities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dhmd.nn.dropout import dropout


class HeadOutput(NamedTuple):
    """Output of a head: the hidden layer after its ReLU (B, hidden), the refined input (B, in_dim), the logits (B, out_dim)."""

    hidden: Tensor
    refined: Tensor
    logits: Tensor


class ResidualHead(nn.Module):
    """Head that refines x by proj2(dropout(relu(proj1 x))) + x, followed by a linear layer (authors' code; MulT)."""

    def __init__(self, in_dim: int, hidden: int, out_dim: int, dropout: float) -> None:
        super().__init__()
        self.rate = dropout
        self.proj1 = nn.Linear(in_dim, hidden)
        self.proj2 = nn.Linear(hidden, in_dim)
        self.out = nn.Linear(in_dim, out_dim)

    def forward(self, x: Tensor) -> HeadOutput:
        """Return the head's output for x (B, in_dim)."""
        hidden = F.relu(self.proj1(x))
        refined = self.proj2(dropout(hidden, self.rate, self.training)) + x
        return HeadOutput(hidden, refined, self.out(refined))


class CodeFusion(nn.Module):
    """Linear layer on [feature ; code], per modality, back to the feature's width (related code)."""

    def __init__(self, modalities: tuple[str, ...], feature_dim: int, code_dim: int) -> None:
        super().__init__()
        self.join = nn.ModuleDict({m: nn.Linear(feature_dim + code_dim, feature_dim) for m in modalities})

    def forward(self, features: Mapping[str, Tensor], codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Join features (B, feature_dim) with codes (B, code_dim) by modality."""
        return {m: self.join[m](torch.cat([x, codes[m]], dim=-1)) for m, x in features.items()}


class FeatureOnly(nn.Module):
    """Replacement for :class:`CodeFusion` without a dictionary: the feature alone."""

    def forward(self, features: Mapping[str, Tensor], codes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the features unchanged."""
        return dict(features)


class Gate(nn.Module):
    """Gate sigmoid(W x), which replaces x in the authors' code (``replace``) or multiplies x (``multiply``)."""

    def __init__(self, width: int, kind: Literal["replace", "multiply"]) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.multiply = kind == "multiply"

    def forward(self, x: Tensor) -> Tensor:
        """Gate x (..., width)."""
        gate = torch.sigmoid(self.linear(x))
        return x * gate if self.multiply else gate
