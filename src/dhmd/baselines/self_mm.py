"""Self-MM: one fused and several unimodal heads, the latter trained on labels that move during training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from dhmd.batch import LANGUAGE, FeatureBatch, FeatureSpec
from dhmd.losses.self_mm import require_regression
from dhmd.models.base import Citation, Network
from dhmd.models.options import MAX_RATE, choose, whole, within
from dhmd.models.per_modality import by_modality, language_lengths
from dhmd.nn.recurrent import RecurrentEncoder
from dhmd.nn.temporal import first_frames
from dhmd.nn.text_vector import TextPool, text_vector
from dhmd.outputs import Outputs

WIDTH = 32
"""The width of a layer whose option does not name the modality."""


@dataclass(frozen=True)
class SelfMMOutputs(Outputs):
    """Outputs of Self-MM; ``features`` has the vectors that are fused, as ``encoded/<modality>``.

    Attributes:
        fused_feature: (B, F) after the first layer of the fused head, F*_M.
        unimodal_features: (B, H_m) after the first layer of each unimodal head, F*_m, by modality. These and ``fused_feature`` are what
            the unimodal labels are made from (`dhmd.losses.self_mm.MovingLabelLoss`).
    """

    fused_feature: Tensor = field(kw_only=True)
    unimodal_features: Mapping[str, Tensor] = field(kw_only=True)


class Head(nn.Module):
    """Three layers from a vector x to a prediction: F* = relu(W1 dropout(x)), then W3 relu(W2 F*), each with a bias.

    Args:
        in_dim: width of x.
        width: width of F*.
        dropout: rate on x.
    """

    def __init__(self, in_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.first = nn.Linear(in_dim, width)
        self.second = nn.Linear(width, width)
        self.last = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predictions (B, 1) and the features F* (B, width) of x (B, in_dim)."""
        feature = relu(self.first(self.dropout(x)))
        return self.last(relu(self.second(feature))), feature


class SelfMM(Network):
    """Self-MM (Yu et al., AAAI 2021), for regression on any set of modalities.

    Language is the vector of its token states; every other modality is the final state of an LSTM, then a linear layer. The fused head
    reads all vectors side by side, and a head of the same form reads each alone. Its objective is the task loss of the fused head and
    `dhmd.losses.self_mm.MovingLabelLoss`, the losses of the unimodal heads.

    Options by modality are one number, or a map; a modality that the map does not name has width 32 and rate 0.

    Args:
        spec: what the data looks like.
        text_encoder: makes the language features from tokens; None when they are given.
        hidden: width of each LSTM's state, by modality other than language.
        width: width of the vector that a linear layer makes of it, by modality other than language.
        fusion_width: F, the width of the fused head.
        head_width: H_m, the width of each unimodal head, by modality.
        lstm_dropout: rate on the LSTM's final state, by modality other than language.
        fusion_dropout: rate on what the fused head reads.
        head_dropout: rate on what each unimodal head reads, by modality.
        text_pool: ``cls``, the state of the first token; ``mean``, the mean over the tokens; None for ``cls`` with a text encoder and
            ``mean`` without.
        lengths: the frames that an LSTM reads on aligned data: ``own``, the modality's own real ones; ``language``, as many from the
            first stored one on as language has real ones, as in the public code. On unaligned data they are always its own.

    Attributes:
        fused_width: F.
        unimodal_widths: H_m by modality.

    Raises:
        UsageError: another task than regression, an option out of its range, or ``lengths: language`` without language.
    """

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"acoustic": ("encoders.acoustic",), "vision": ("encoders.vision",)}
    source: ClassVar[Citation] = Citation(
        paper="Yu, Xu, Yuan, Wu: Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for Multimodal "
        "Sentiment Analysis, AAAI 2021",
        code="thuiar/MMSA@a94e65d",
    )

    def __init__(
        self,
        spec: FeatureSpec,
        text_encoder: nn.Module | None = None,
        *,
        hidden: Mapping[str, int] | int = WIDTH,
        width: Mapping[str, int] | int = WIDTH,
        fusion_width: int = 128,
        head_width: Mapping[str, int] | int = WIDTH,
        lstm_dropout: Mapping[str, float] | float = 0.0,
        fusion_dropout: float = 0.0,
        head_dropout: Mapping[str, float] | float = 0.0,
        text_pool: TextPool | None = None,
        lengths: Literal["own", "language"] = "own",
    ) -> None:
        super().__init__(spec, text_encoder)
        require_regression(spec.task, type(self).__name__)
        recurrent = tuple(m for m in self.modalities if m != LANGUAGE)
        states, widths = _widths(hidden, recurrent, "hidden"), _widths(width, recurrent, "width")
        rates = _rates(lstm_dropout, recurrent, "lstm_dropout")
        self.text_pool: TextPool = text_pool or ("cls" if self.text_encoder.needs_tokens else "mean")
        choose(self.text_pool, ("cls", "mean"), "model.text_pool")
        self.reads_padding = language_lengths(lengths, self.modalities) and spec.aligned
        dims = self.spec.dims
        self.encoders = nn.ModuleDict({m: RecurrentEncoder(dims[m], states[m], widths[m], dropout=rates[m]) for m in recurrent})
        read = {m: dims[m] if m == LANGUAGE else widths[m] for m in self.modalities}
        whole(fusion_width, "model.fusion_width")
        within(fusion_dropout, 0, MAX_RATE, "model.fusion_dropout")
        self.fused_width = fusion_width
        self.unimodal_widths = _widths(head_width, self.modalities, "head_width")
        rates = _rates(head_dropout, self.modalities, "head_dropout")
        self.fused_head = Head(sum(read.values()), fusion_width, fusion_dropout)
        self.heads = nn.ModuleDict({m: Head(read[m], self.unimodal_widths[m], rates[m]) for m in self.modalities})

    def forward(self, batch: FeatureBatch) -> SelfMMOutputs:
        """Predict a batch."""
        batch = self.encode(batch)
        vectors = {}
        for m, x in batch.features.items():
            vectors[m] = text_vector(x, batch.masks[m], self.text_pool) if m == LANGUAGE else self.encoders[m](x, self._frames(m, batch))
        prediction, fused = self.fused_head(torch.cat(list(vectors.values()), dim=-1))
        found = {m: self.heads[m](x) for m, x in vectors.items()}
        return SelfMMOutputs(
            prediction=prediction,
            unimodal={m: y for m, (y, _) in found.items()},
            features={f"encoded/{m}": x for m, x in vectors.items()},
            fused_feature=fused,
            unimodal_features={m: feature for m, (_, feature) in found.items()},
        )

    def _frames(self, modality: str, batch: FeatureBatch) -> Tensor:
        """Return the mask (B, T_m) of the frames that the modality's LSTM reads."""
        mask = batch.masks[modality]
        return first_frames(mask, batch.masks[LANGUAGE]) if self.reads_padding else mask


def _widths(values: Mapping[str, int] | int, modalities: tuple[str, ...], option: str) -> dict[str, int]:
    """Return the width of each modality, checked."""
    found = by_modality(values, modalities, f"model.{option}", WIDTH)
    for m, value in found.items():
        whole(value, f"model.{option}.{m}")
    return found


def _rates(values: Mapping[str, float] | float, modalities: tuple[str, ...], option: str) -> dict[str, float]:
    """Return the dropout rate of each modality, checked."""
    found = by_modality(values, modalities, f"model.{option}", 0.0)
    for m, value in found.items():
        within(value, 0, MAX_RATE, f"model.{option}.{m}")
    return found
