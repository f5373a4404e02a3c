"""The text-only control for every table: the same text encoder, the masked mean of its frames, one linear layer."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from dhmd.batch import LANGUAGE, FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.models.base import Citation, Network
from dhmd.models.options import MAX_RATE, within
from dhmd.nn.dropout import dropout as drop
from dhmd.nn.temporal import masked_mean
from dhmd.outputs import Outputs


class TextOnly(Network):
    """Language alone: encoder, masked mean, dropout, linear head.

    Args:
        spec: specification of the data.
        text_encoder: encoder of tokens to language features; None if the features are given.
        dropout: dropout rate before the head.

    Raises:
        UsageError: the data has no language.
    """

    source: ClassVar[Citation] = Citation("a control of this suite")

    def __init__(self, spec: FeatureSpec, text_encoder: nn.Module | None = None, *, dropout: float = 0.0) -> None:
        if LANGUAGE not in spec.dims:
            raise UsageError(f"model=text_only reads the modality {LANGUAGE!r}; the data has {', '.join(spec.modalities)}")
        super().__init__(spec, text_encoder)
        self.modalities = (LANGUAGE,)
        within(dropout, 0, MAX_RATE, "model.dropout")
        self.rate = dropout
        self.head = nn.Linear(self.spec.dims[LANGUAGE], self.spec.out_dim)

    def forward(self, batch: FeatureBatch) -> Outputs:
        """Predict a batch."""
        batch = self.encode(batch)
        mean = masked_mean(batch.features[LANGUAGE], batch.masks[LANGUAGE])
        return Outputs(prediction=self.head(drop(mean, self.rate, self.training)))
