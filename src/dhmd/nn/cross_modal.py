"""Cross-modal attention: every modality reinforced by every other, then remembered."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dhmd.nn.attention import AttentionDropout, TransformerEncoder


class CrossModalAttention(nn.Module):
    """Per target modality one encoder from each other modality, results side by side, then a memory encoder (MulT, Tsai et al., ACL 2019).

    With M modalities the memory is (M - 1) d wide.

    Args:
        modalities: names, in order.
        width: d.
        heads: attention heads.
        layers: of each cross-modal encoder; a memory encoder has at least three (authors' code).
        dropout: rates by the *source* modality.
        memory_dropout: rates of the memory encoders.
        source_order: the order in which a target's sources are joined (authors': language, acoustic, vision).
        causal: see ``dhmd.nn.attention.visible_keys``.
        zero_is_padding: see ``dhmd.nn.attention.TransformerEncoder``.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        width: int,
        heads: int,
        layers: int,
        dropout: Mapping[str, AttentionDropout],
        memory_dropout: AttentionDropout,
        source_order: tuple[str, ...],
        causal: bool = False,
        zero_is_padding: bool = False,
    ) -> None:
        super().__init__()
        self.order = {target: tuple(s for s in source_order if s != target) for target in modalities}
        self.out_dim = (len(modalities) - 1) * width
        self.cross = nn.ModuleDict(
            {
                f"{target}_from_{source}": TransformerEncoder(width, heads, layers, dropout[source], causal, zero_is_padding)
                for target in modalities
                for source in self.order[target]
            }
        )
        self.memory = nn.ModuleDict(
            {m: TransformerEncoder(self.out_dim, heads, max(layers, 3), memory_dropout, causal, zero_is_padding) for m in modalities}
        )

    def forward(self, private: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """From private sequences, per modality (B, T'_m, d), to h_m (B, T'_m, (M - 1) d)."""
        out = {}
        for target, x in private.items():
            found = [self.cross[f"{target}_from_{s}"](x, masks[target], private[s], masks[s]) for s in self.order[target]]
            out[target] = self.memory[target](torch.cat(found, dim=-1), masks[target])
        return out


class SelfAttentionOnly(nn.Module):
    """What stands in for cross-modal attention when it is absent: a self-attention encoder of the same depth, then Linear to (M - 1) d."""

    def __init__(
        self,
        modalities: tuple[str, ...],
        width: int,
        heads: int,
        layers: int,
        dropout: Mapping[str, AttentionDropout],
        causal: bool = False,
        zero_is_padding: bool = False,
    ) -> None:
        super().__init__()
        self.out_dim = (len(modalities) - 1) * width
        self.encoder = nn.ModuleDict({m: TransformerEncoder(width, heads, layers, dropout[m], causal, zero_is_padding) for m in modalities})
        self.widen = nn.ModuleDict({m: nn.Linear(width, self.out_dim) for m in modalities})

    def forward(self, private: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """From private sequences, per modality (B, T'_m, d), to h_m (B, T'_m, (M - 1) d)."""
        return {m: self.widen[m](self.encoder[m](x, masks[m])) for m, x in private.items()}
