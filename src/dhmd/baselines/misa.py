"""MISA: a private and a shared vector of each modality, fused by self-attention over all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from dhmd.batch import LANGUAGE, FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.models.base import Citation, Network
from dhmd.models.options import MAX_RATE, choose, whole, within
from dhmd.models.per_modality import language_lengths
from dhmd.nn.gradient_reversal import reverse_gradient
from dhmd.nn.temporal import first_frames, masked_mean
from dhmd.nn.utterance_lstm import UtteranceLSTM
from dhmd.outputs import Outputs, nested


@dataclass(frozen=True)
class MisaOutputs(Outputs):
    """Outputs of `Misa`; `features` are ``private/<modality>`` and ``shared/<modality>``.

    Attributes:
        projected: u_m (B, H) of each modality, its vector in the common width.
        reconstruction: (B, H) of each modality, u_m from P_m + S_m.
        domain: (B, M) logits of the discriminator for each modality's S_m; empty for a network without one.
    """

    projected: Mapping[str, Tensor] = field(default_factory=dict)
    reconstruction: Mapping[str, Tensor] = field(default_factory=dict)
    domain: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def private(self) -> dict[str, Tensor]:
        """P_m (B, H) of each modality."""
        return nested(self.features, "private")

    @property
    def shared(self) -> dict[str, Tensor]:
        """S_m (B, H) of each modality."""
        return nested(self.features, "shared")


class Misa(Network):
    """MISA: modality-invariant and modality-specific vectors of utterances.

    Language is the mean of its real frames: of the text encoder's states, special tokens included, or of given features. Every other
    modality is one vector by two stacked LSTM layers as wide as its features. Each vector is projected to H, split into a private and a
    shared one, and reconstructed from their sum; the 2 M vectors are tokens of one self-attention layer, whose outputs an MLP reads side
    by side. Any two or more modalities are taken.

    Args:
        spec: what the data looks like.
        text_encoder: makes the language features from tokens; None when they are given.
        hidden: H.
        dropout: rate in the last layers and in the discriminator.
        heads: attention heads; they divide H.
        feedforward: width of the self-attention layer's inner layer.
        attention_dropout: rate in the self-attention layer.
        similarity: ``cmd``, or ``adversarial`` for a discriminator of modalities that reads shared vectors through reversed gradients.
        reversal: scale of the reversed gradient.
        recurrent_init: hidden-to-hidden weights of the LSTM layers: ``orthogonal`` (authors' code) or ``uniform`` (torch's, MMSA).
        lengths: frames that the LSTM layers read: the modality's ``own`` real ones, or as many from the beginning as there are real
            frames of language (``language``, MMSA), whatever they hold.

    Raises:
        UsageError: fewer than two modalities, lengths of an absent language, or an option out of range.
    """

    smallest_batch = 2
    source = Citation(
        "D. Hazarika, R. Zimmermann, S. Poria: MISA: Modality-Invariant and -Specific Representations for Multimodal Sentiment Analysis. "
        "ACM MM 2020",
        "declare-lab/MISA@ec42fad",
    )

    def __init__(
        self,
        spec: FeatureSpec,
        text_encoder: nn.Module | None = None,
        *,
        hidden: int = 128,
        dropout: float = 0.2,
        heads: int = 2,
        feedforward: int = 2048,
        attention_dropout: float = 0.1,
        similarity: Literal["cmd", "adversarial"] = "cmd",
        reversal: float = 1.0,
        recurrent_init: Literal["orthogonal", "uniform"] = "orthogonal",
        lengths: Literal["own", "language"] = "own",
    ) -> None:
        super().__init__(spec, text_encoder)
        self._check(hidden, heads, feedforward)
        within(dropout, 0, MAX_RATE, "model.dropout")
        within(attention_dropout, 0, MAX_RATE, "model.attention_dropout")
        within(reversal, 0, float("inf"), "model.reversal")
        choose(similarity, ("cmd", "adversarial"), "model.similarity")
        choose(recurrent_init, ("orthogonal", "uniform"), "model.recurrent_init")
        self.reads_padding = language_lengths(lengths, self.modalities)
        self.reversal = reversal

        dims, many = self.spec.dims, len(self.modalities)
        self.extractors = nn.ModuleDict({m: UtteranceLSTM(dims[m], dims[m]) for m in self.modalities if m != LANGUAGE})
        if recurrent_init == "orthogonal":
            for name, weight in self.extractors.named_parameters():
                if "weight_hh" in name:
                    nn.init.orthogonal_(weight)
        widths = {m: dims[m] if m == LANGUAGE else 4 * dims[m] for m in self.modalities}
        self.projections = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(w, hidden), nn.ReLU(), nn.LayerNorm(hidden)) for m, w in widths.items()}
        )
        self.private = nn.ModuleDict({m: nn.Sequential(nn.Linear(hidden, hidden), nn.Sigmoid()) for m in self.modalities})
        self.shared = nn.Sequential(nn.Linear(hidden, hidden), nn.Sigmoid())
        self.reconstructions = nn.ModuleDict({m: nn.Linear(hidden, hidden) for m in self.modalities})
        self.discriminator = (
            nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, many))
            if similarity == "adversarial"
            else None
        )
        self.attention = nn.TransformerEncoderLayer(hidden, heads, feedforward, attention_dropout)
        self.fusion = nn.Sequential(
            nn.Linear(2 * many * hidden, many * hidden),
            nn.Dropout(dropout),
            nn.ReLU(),
            nn.Linear(many * hidden, self.spec.out_dim),
        )

    def forward(self, batch: FeatureBatch) -> MisaOutputs:
        """Predict a batch."""
        batch = self.encode(batch)
        projected = {m: self.projections[m](self._vector(batch, m)) for m in self.modalities}
        private = {m: self.private[m](u) for m, u in projected.items()}
        shared = {m: self.shared(u) for m, u in projected.items()}
        tokens = torch.stack([*private.values(), *shared.values()])  # (2 M, B, H)
        fused = self.attention(tokens).transpose(0, 1).flatten(1)
        discriminator = self.discriminator
        return MisaOutputs(
            prediction=self.fusion(fused),
            features={f"private/{m}": x for m, x in private.items()} | {f"shared/{m}": x for m, x in shared.items()},
            projected=projected,
            reconstruction={m: self.reconstructions[m](private[m] + shared[m]) for m in self.modalities},
            domain={} if discriminator is None else {m: discriminator(reverse_gradient(x, self.reversal)) for m, x in shared.items()},
        )

    def _vector(self, batch: FeatureBatch, modality: str) -> Tensor:
        """Return a modality's utterance as one vector."""
        x, mask = batch.features[modality], batch.masks[modality]
        if modality == LANGUAGE:
            return masked_mean(x, mask)
        if self.reads_padding:
            mask = first_frames(mask, batch.masks[LANGUAGE])
        vector: Tensor = self.extractors[modality](x, mask)
        return vector

    def _check(self, hidden: int, heads: int, feedforward: int) -> None:
        """Check modalities and sizes.

        Raises:
            UsageError: fewer than two modalities, or sizes that do not fit.
        """
        if len(self.modalities) < 2:
            raise UsageError(
                f"data.modalities: found {', '.join(self.modalities)} alone; {type(self).__name__} compares modalities and needs two; "
                "for language alone use model=text_only"
            )
        for key, value in (("hidden", hidden), ("heads", heads), ("feedforward", feedforward)):
            whole(value, f"model.{key}")
        if hidden % heads:
            raise UsageError(f"model.heads: found {heads}; expected a divisor of model.hidden, {hidden}")
