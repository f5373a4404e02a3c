"""Cross-modal attention: every modality is reinforced by every other, followed by a memory encoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from dhmd.nn.encoder import Encoders, Rates
from dhmd.nn.temporal import cut


class CrossModalAttention(nn.Module):
    """Cross-modal attention of MulT (Tsai et al., ACL 2019).

    Each target modality has one encoder from each other modality; their results are concatenated and read by a memory encoder.

    With M modalities the memory is (M - 1) d wide.

    Args:
        modalities: names of the modalities, in order.
        width: d.
        heads: number of attention heads.
        layers: number of layers of each cross-modal encoder; a memory encoder has at least three (authors' code).
        attention_dropout: rate of the attention weights by the *source* modality.
        memory_dropout: rate of the attention weights of the memory encoders.
        rates: the other dropout rates.
        source_order: the order in which a target's sources are joined (authors': language, acoustic, vision).
        causal: see ``dhmd.nn.cpu.attention_mask.Visibility``.
        zero_is_padding: see ``dhmd.nn.encoder.Encoders``.
    """

    def __init__(
        self,
        modalities: tuple[str, ...],
        width: int,
        heads: int,
        layers: int,
        attention_dropout: Mapping[str, float],
        memory_dropout: float,
        rates: Rates,
        source_order: tuple[str, ...],
        causal: bool = False,
        zero_is_padding: bool = False,
    ) -> None:
        super().__init__()
        self.pairs = tuple((target, source) for target in modalities for source in source_order if source != target)
        self.modalities, self.out_dim = modalities, (len(modalities) - 1) * width
        by_pair = tuple(attention_dropout[source] for _, source in self.pairs)
        names = tuple(f"{target}_from_{source}" for target, source in self.pairs)
        self.cross = Encoders(names, width, heads, layers, by_pair, rates, causal, zero_is_padding)
        by_memory = (memory_dropout,) * len(modalities)
        self.memory = Encoders(modalities, self.out_dim, heads, max(layers, 3), by_memory, rates, causal, zero_is_padding)

    def forward(self, private: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """Return h_m (B, T'_m, (M - 1) d) from private sequences (B, T'_m, d), by modality."""
        return self._remembered(private, masks, last=False)

    def last(self, private: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """Return only the last real frame of each h_m, (B, (M - 1) d) by modality."""
        return self._remembered(private, masks, last=True)

    def _remembered(self, private: Mapping[str, Tensor], masks: Mapping[str, Tensor | None], last: bool) -> dict[str, Tensor]:
        short = cut(private, masks)
        x, seen = short.sequences, short.masks
        targets, sources = zip(*self.pairs, strict=True)
        found = self.cross(
            [x[t] for t in targets], tuple(seen[t] for t in targets), [x[s] for s in sources], tuple(seen[s] for s in sources)
        )
        joined = [torch.cat([y for y, t in zip(found, targets, strict=True) if t == m], dim=-1) for m in self.modalities]
        h = dict(zip(self.modalities, self.memory(joined, tuple(seen[m] for m in self.modalities), last=last), strict=True))
        return h if last else {m: short.restored(m, y) for m, y in h.items()}


class SelfAttentionOnly(nn.Module):
    """Replacement for absent cross-modal attention: a self-attention encoder of the same depth, then Linear to (M - 1) d."""

    def __init__(
        self,
        modalities: tuple[str, ...],
        width: int,
        heads: int,
        layers: int,
        attention_dropout: Mapping[str, float],
        rates: Rates,
        causal: bool = False,
        zero_is_padding: bool = False,
    ) -> None:
        super().__init__()
        self.out_dim = (len(modalities) - 1) * width
        by_modality = tuple(attention_dropout[m] for m in modalities)
        self.encoder = Encoders(modalities, width, heads, layers, by_modality, rates, causal, zero_is_padding)
        self.widen = nn.ModuleDict({m: nn.Linear(width, self.out_dim) for m in modalities})

    def forward(self, private: Mapping[str, Tensor], masks: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """Return h_m (B, T'_m, (M - 1) d) from private sequences (B, T'_m, d), by modality."""
        short = cut(private, masks)
        found = self.encoder(list(short.sequences.values()), tuple(short.masks.values()))
        return {m: self.widen[m](short.restored(m, x)) for m, x in zip(private, found, strict=True)}
