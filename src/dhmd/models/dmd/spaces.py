"""The two spaces: heads, Graph Distillation Unit, dictionary and fusion on the shared and on the private parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dhmd.models.dmd.options import SpaceOptions
from dhmd.models.dmd.outputs import Space
from dhmd.models.dmd.stages import build_dictionary, build_fusion, build_unit, heads_on_codes, space_of
from dhmd.nn.cross_modal import CrossModalAttention, SelfAttentionOnly
from dhmd.nn.dictionary import NoDictionary
from dhmd.nn.encoder import Encoders
from dhmd.nn.fusion import ResidualHead
from dhmd.nn.temporal import cut, last_real


class HomogeneousOutput(NamedTuple):
    """The space, the fused feature (B, M d) and the logits of its head (B, out_dim)."""

    space: Space
    fused: Tensor
    shared_logits: Tensor


class HomogeneousBranch(nn.Module):
    """Unimodal heads on the summarised c_m, a Graph Distillation Unit on them, self-attention, fusion (authors' code).

    Args:
        modalities: names of the modalities, in order.
        width: d.
        out_dim: width of a prediction.
        options: options of the stages.
        summary: function that makes a modality's layer from sequence to vector.
        encoder: the modalities' self-attention encoders.
        dropout: dropout rate of the heads.
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
        """Return the output of the space from shared parts c_m (B, T'_m, d) by modality."""
        found = self.dictionary(shared, masks)
        read = found.codes if self.on_codes else {m: self.summary[m](x, masks[m]) for m, x in shared.items()}
        heads = {m: head(read[m]) for m, head in self.heads.items()}
        short = cut(shared, masks)
        last = self.encoder(list(short.sequences.values()), tuple(short.masks.values()), last=True)
        pooled = dict(zip(shared, last, strict=True))
        # the hidden layer after its ReLU, as the authors' in-place ReLU leaves it
        space = space_of(self.unit, found, shared, pooled, heads, "hidden")
        shared_logits = self.shared_head(torch.cat(list(pooled.values()), dim=-1)).logits
        return HomogeneousOutput(space, torch.cat(list(self.join(pooled, found.codes).values()), dim=-1), shared_logits)


class HeterogeneousOutput(NamedTuple):
    """The space, and per modality the feature that enters the last fusion (B, H)."""

    space: Space
    fused: dict[str, Tensor]


class HeterogeneousBranch(nn.Module):
    """Heads on the last step of each modality's reinforced sequence h_m, a Graph Distillation Unit on them (authors' code).

    Args:
        modalities: names of the modalities, in order.
        out_dim: width of a prediction.
        options: options of the stages.
        attention: module from private parts to h_m.
        dropout: dropout rate of the heads.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        out_dim: int,
        options: SpaceOptions,
        attention: CrossModalAttention | SelfAttentionOnly,
        dropout: float,
    ) -> None:
        super().__init__()
        self.attention = attention
        width = attention.out_dim
        self.dictionary = build_dictionary(options, modalities, width)
        self.on_codes = heads_on_codes(options)
        size = self.dictionary.width if self.on_codes else width
        self.unit = build_unit("heterogeneous", options, modalities, out_dim, size)
        heads = {m: ResidualHead(size, size, out_dim, dropout) for m in modalities} if options.unimodal_heads else {}
        self.heads = nn.ModuleDict(heads)
        self.join = build_fusion(self.dictionary, modalities, width)

    def forward(self, private: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> HeterogeneousOutput:
        """Return the output of the space from private parts s_m (B, T'_m, d) by modality."""
        sequences: dict[str, Tensor] = {}
        if isinstance(self.dictionary, NoDictionary) and isinstance(self.attention, CrossModalAttention):
            pooled = self.attention.last(private, masks)  # nothing reads the other frames
        else:
            sequences = self.attention(private, masks)
            pooled = {m: last_real(h, masks[m]) for m, h in sequences.items()}
        found = self.dictionary(sequences, masks)
        heads = {m: head((found.codes if self.on_codes else pooled)[m]) for m, head in self.heads.items()}
        return HeterogeneousOutput(space_of(self.unit, found, sequences or None, pooled, heads, "refined"), self.join(pooled, found.codes))
