"""Decoupling by self-regression into a part shared by the modalities and a part private to each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


class Decoupling(nn.Module):
    """One encoder shared by the modalities and one private to each; a decoder per modality reconstructs the sequence.

    All are linear and pointwise in time (DMD, CVPR 2023; biases and sizes from the authors' code).

    Args:
        modalities: names of the modalities, in order.
        width: d.
        summary: function that makes a modality's layer from its sequence to one vector (with ``out_dim``) for the margin loss.
        private_similarity: whether to project the private part, too; the authors compute this and use it nowhere.
    """

    def __init__(
        self, modalities: tuple[str, ...], width: int, summary: Callable[[str], nn.Module], private_similarity: bool = False
    ) -> None:
        super().__init__()
        self.shared = nn.Linear(width, width, bias=False)
        self.private = nn.ModuleDict({m: nn.Linear(width, width, bias=False) for m in modalities})
        self.decoder = nn.ModuleDict({m: nn.Linear(2 * width, width, bias=False) for m in modalities})
        self.summary = nn.ModuleDict({m: summary(m) for m in modalities})
        flat = {m: int(self.summary[m].out_dim) for m in modalities}  # type: ignore[arg-type]
        self.similarity = nn.ModuleDict({m: nn.Linear(flat[m], width) for m in modalities})
        self.private_similarity = nn.ModuleDict({m: nn.Linear(flat[m], width) for m in modalities}) if private_similarity else None

    def forward(self, projected: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> dict[str, dict[str, Tensor]]:
        """Decouple projected sequences, per modality (B, T', d).

        Returns:
            The fields of ``dhmd.outputs.Decoupled`` by name, each a dictionary by modality.
        """
        private = {m: self.private[m](x) for m, x in projected.items()}
        shared = {m: self.shared(x) for m, x in projected.items()}
        reconstruction = {m: self.decoder[m](torch.cat([private[m], shared[m]], dim=-1)) for m in projected}
        parts = {
            "projected": dict(projected),
            "shared": shared,
            "private": private,
            "reconstruction": reconstruction,
            "cycle": {m: self.private[m](x) for m, x in reconstruction.items()},
            "similarity": {m: self.similarity[m](self.summary[m](x, masks[m])) for m, x in shared.items()},
        }
        if self.private_similarity is not None:
            parts["private_similarity"] = {m: self.private_similarity[m](self.summary[m](x, masks[m])) for m, x in private.items()}
        return parts
