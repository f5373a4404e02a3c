"""The heterogeneous space: cross-modal attention on the private parts, heads, distillation between them (HeteroGD)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor, nn

from dhmd.models.dmd.stages import build_dictionary, build_fusion, build_unit, heads_on_codes, space_of
from dhmd.models.options import SpaceOptions
from dhmd.nn.cross_modal import CrossModalAttention, SelfAttentionOnly
from dhmd.nn.dictionary import NoDictionary
from dhmd.nn.fusion import ResidualHead
from dhmd.nn.temporal import last_real
from dhmd.outputs import Space


class HeterogeneousOutput(NamedTuple):
    """The space, and per modality the feature that goes into the last fusion (B, H)."""

    space: Space
    fused: dict[str, Tensor]


class HeterogeneousBranch(nn.Module):
    """Heads on the last step of each modality's reinforced sequence h_m, a Graph Distillation Unit on them (authors' code).

    Args:
        modalities: names, in order.
        out_dim: width of a prediction.
        options: the stages.
        attention: from private parts to h_m.
        dropout: of the heads.
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
        """From private parts s_m (B, T'_m, d) by modality."""
        sequences: dict[str, Tensor] = {}
        if isinstance(self.dictionary, NoDictionary) and isinstance(self.attention, CrossModalAttention):
            pooled = self.attention.last(private, masks)  # nothing reads the other frames
        else:
            sequences = self.attention(private, masks)
            pooled = {m: last_real(h, masks[m]) for m, h in sequences.items()}
        found = self.dictionary(sequences, masks)
        heads = {m: head((found.codes if self.on_codes else pooled)[m]) for m, head in self.heads.items()}
        return HeterogeneousOutput(space_of(self.unit, found, sequences or None, pooled, heads, "refined"), self.join(pooled, found.codes))
