"""The homogeneous space: heads on the shared parts, distillation between them (HomoGD), their fusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dhmd.models.dmd.stages import build_dictionary, build_fusion, build_unit, heads_on_codes, space_of
from dhmd.models.options import SpaceOptions
from dhmd.nn.encoder import Encoders
from dhmd.nn.fusion import ResidualHead
from dhmd.nn.temporal import cut
from dhmd.outputs import Space


class HomogeneousOutput(NamedTuple):
    """The space, the fused feature (B, M d) and the logits of its head (B, out_dim)."""

    space: Space
    fused: Tensor
    shared_logits: Tensor


class HomogeneousBranch(nn.Module):
    """Unimodal heads on the summarised c_m, a Graph Distillation Unit on them, self-attention, fusion (authors' code).

    Args:
        modalities: names, in order.
        width: d.
        out_dim: width of a prediction.
        options: the stages.
        summary: makes a modality's layer from sequence to vector.
        encoder: the modalities' self-attention encoders.
        dropout: of the heads.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        width: int,
        out_dim: int,
        options: SpaceOptions,
        summary: Callable[[str], nn.Module],
        encoder: Encoders,
        dropout: float,
    ) -> None:
        super().__init__()
        self.dictionary = build_dictionary(options, modalities, width)
        self.unit = build_unit("homogeneous", options, modalities, out_dim, width)
        self.on_codes = heads_on_codes(options)
        self.summary = nn.ModuleDict({m: summary(m) for m in modalities})
        sizes = {m: self.dictionary.width if self.on_codes else int(self.summary[m].out_dim) for m in modalities}  # type: ignore[arg-type]
        heads = {m: ResidualHead(sizes[m], width, out_dim, dropout) for m in modalities} if options.unimodal_heads else {}
        self.heads = nn.ModuleDict(heads)
        self.encoder = encoder
        self.join = build_fusion(self.dictionary, modalities, width)
        total = len(modalities) * width
        self.shared_head = ResidualHead(total, total, out_dim, dropout)

    def forward(self, shared: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> HomogeneousOutput:
        """From shared parts c_m (B, T'_m, d) by modality."""
        found = self.dictionary(shared, masks)
        read = found.codes if self.on_codes else {m: self.summary[m](x, masks[m]) for m, x in shared.items()}
        heads = {m: head(read[m]) for m, head in self.heads.items()}
        short = cut(shared, masks)
        last = self.encoder(list(short.sequences.values()), tuple(short.masks.values()), last=True)
        pooled = dict(zip(shared, last, strict=True))
        # the hidden layer after its ReLU, as the authors' in-place one leaves it
        space = space_of(self.unit, found, shared, pooled, heads, "hidden")
        shared_logits = self.shared_head(torch.cat(list(pooled.values()), dim=-1)).logits
        return HomogeneousOutput(space, torch.cat(list(self.join(pooled, found.codes).values()), dim=-1), shared_logits)
