"""The control every table is read against: the same text encoder, the masked mean of its frames, one linear layer."""

from __future__ import annotations

from torch import nn

from dhmd.batch import LANGUAGE, FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.models.options import MAX_RATE, within
from dhmd.nn.dropout import dropout as drop
from dhmd.nn.temporal import masked_mean
from dhmd.nn.text import GivenFeatures
from dhmd.outputs import Outputs


class TextOnly(nn.Module):
    """Language alone: encoder, masked mean, dropout, linear head.

    Args:
        spec: what the data looks like.
        text_encoder: makes the language features from tokens; None when they are given.
        dropout: before the head.

    Raises:
        UsageError: the data has no language.
    """

    reads_padding = False

    def __init__(self, spec: FeatureSpec, text_encoder: nn.Module | None = None, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.text_encoder = GivenFeatures() if text_encoder is None else text_encoder
        if LANGUAGE not in spec.dims:
            raise UsageError(f"model=text_only reads the modality {LANGUAGE!r}; the data has {', '.join(spec.modalities)}")
        spec = self.text_encoder.encoded(spec)  # type: ignore[operator]
        self.modalities = (LANGUAGE,)
        within(dropout, 0, MAX_RATE, "model.dropout")
        self.rate = dropout
        self.head = nn.Linear(spec.dims[LANGUAGE], spec.out_dim)

    def forward(self, batch: FeatureBatch) -> Outputs:
        """Predict a batch."""
        batch = self.text_encoder(batch)
        mean = masked_mean(batch.features[LANGUAGE], batch.masks[LANGUAGE])
        return Outputs(prediction=self.head(drop(mean, self.rate, self.training)))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Trained parameters by group: text_encoder (if any), network."""
        encoder = [p for p in self.text_encoder.parameters() if p.requires_grad]
        groups = {"text_encoder": encoder, "network": list(self.head.parameters())}
        return {name: group for name, group in groups.items() if group}
