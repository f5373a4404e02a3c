"""MMIM: fusion whose parts keep mutual information with language and with the fused vector (Han et al., EMNLP 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from dhmd.batch import ACOUSTIC, LANGUAGE, VISION, FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.models.base import Citation, Network
from dhmd.models.options import MAX_RATE, choose, whole, within
from dhmd.models.per_modality import by_modality, language_lengths
from dhmd.nn.recurrent import RecurrentEncoder
from dhmd.nn.temporal import first_frames
from dhmd.nn.text_vector import TextPool, text_vector
from dhmd.outputs import Outputs, nested

SHARE = 4
"""The projection that the entropy is measured in has so many times fewer dimensions than the modality."""


@dataclass(frozen=True)
class Bound:
    """The Gaussian q(y | x) of a pair of modalities, which the Barber-Agakov bound of I(x; y) needs.

    Attributes:
        mean: (B, d_y).
        log_variance: (B, d_y), log σ².
        target: (B, d_y), y.
        projection: (B, d_y // 4), tanh of a linear layer of y, for y's entropy.
    """

    mean: Tensor
    log_variance: Tensor
    target: Tensor
    projection: Tensor


@dataclass(frozen=True)
class MmimOutputs(Outputs):
    """Outputs of `Mmim`; ``features`` are ``encoded/<modality>``.

    Attributes:
        fused: (B, fusion_width), z.
        guessed: (B, d) of each modality, its vector as a linear layer of z gives it.
        bounds: of each pair, by ``<x>_<y>``, for example ``language_vision``.
    """

    fused: Tensor = field(kw_only=True)
    guessed: Mapping[str, Tensor] = field(kw_only=True)
    bounds: Mapping[str, Bound] = field(kw_only=True)

    @property
    def encoded(self) -> dict[str, Tensor]:
        """Vector (B, d) of each modality."""
        return nested(self.features, "encoded")


class Mmim(Network):
    """MMIM for two modalities or more, of which language is one.

    Language is one vector of its features, every other modality the last states of a recurrent layer, projected. The fused vector z and
    the prediction are layers of all vectors side by side. Two lower bounds of mutual information are trained besides
    (``dhmd.losses.mmim``): between language and each other modality, and between z and each modality.

    Args:
        spec: what the data looks like; the task must be regression.
        text_encoder: makes the language features from tokens; None when they are given.
        text_pool: ``cls``, the state of the first real token, or ``mean`` over the real ones; None: ``cls`` with a text encoder, else
            ``mean``.
        hidden: width of a recurrent state in one direction, one for all modalities but language or by modality.
        width: width of a modality's vector, likewise; at least 4.
        bidirectional: whether the recurrent layers read in both directions.
        fusion_width: width of z.
        dropout: on the vectors, before the fusion.
        add_va: bound the mutual information of vision and acoustic, too.
        log_variance: ``tanh`` keeps log σ² within -1 and 1; ``linear`` does not.
        lengths: frames that the recurrent layers read in aligned data: the modality's ``own`` real ones, or as many from the beginning as
            there are real frames of language (``language``), whatever they hold.
        entropy_group: parameter group of the projections for the entropy: ``network``, or ``mutual_information`` with the rest of the
            bounds, which leaves them untrained where that group is stepped by the likelihood alone.

    Raises:
        UsageError: the data or an option is not what the network needs.
    """

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {"mutual_information": ("bounds",)}
    source = Citation(
        paper="Wei Han, Hui Chen, Soujanya Poria. Improving Multimodal Fusion with Hierarchical Mutual Information Maximization for "
        "Multimodal Sentiment Analysis. EMNLP 2021.",
        code="declare-lab/Multimodal-Infomax@cd0774c",
    )

    def __init__(
        self,
        spec: FeatureSpec,
        text_encoder: nn.Module | None = None,
        *,
        text_pool: TextPool | None = None,
        hidden: int | Mapping[str, int] = 16,
        width: int | Mapping[str, int] = 16,
        bidirectional: bool = True,
        fusion_width: int = 128,
        dropout: float = 0.1,
        add_va: bool = False,
        log_variance: Literal["tanh", "linear"] = "tanh",
        lengths: Literal["own", "language"] = "own",
        entropy_group: Literal["network", "mutual_information"] = "network",
    ) -> None:
        super().__init__(spec, text_encoder)
        others = _others(self.spec)
        self.text_pool = choose(text_pool or ("cls" if self.text_encoder.needs_tokens else "mean"), ("cls", "mean"), "model.text_pool")
        self.reads_padding = language_lengths(lengths, self.modalities) and self.spec.aligned
        self.entropy_group = choose(entropy_group, ("network", "mutual_information"), "model.entropy_group")
        within(dropout, 0, MAX_RATE, "model.dropout")
        whole(fusion_width, "model.fusion_width")
        states, widths = by_modality(hidden, others, "model.hidden", 16), by_modality(width, others, "model.width", 16)
        for m in others:
            whole(states[m], f"model.hidden.{m}")
            whole(widths[m], f"model.width.{m}")
            if widths[m] < SHARE:
                raise UsageError(f"model.width.{m}: found {widths[m]}; expected {SHARE} at least, of which the entropy sees a quarter")
        if add_va and not {VISION, ACOUSTIC} <= set(others):
            raise UsageError(f"model.add_va: needs {VISION} and {ACOUSTIC}; the data has {', '.join(self.modalities)}; set it to false")
        self.pairs = (*((LANGUAGE, m) for m in others), *(((VISION, ACOUSTIC),) if add_va else ()))
        widths[LANGUAGE] = self.spec.dims[LANGUAGE]
        bounded = choose(log_variance, ("tanh", "linear"), "model.log_variance") == "tanh"

        self.encoders = nn.ModuleDict({m: RecurrentEncoder(self.spec.dims[m], states[m], widths[m], bidirectional) for m in others})
        self.bounds = nn.ModuleDict({f"{x}_{y}": ConditionalGaussian(widths[x], widths[y], bounded) for x, y in self.pairs})
        self.projections = nn.ModuleDict(
            {f"{x}_{y}": nn.Sequential(nn.Linear(widths[y], widths[y] // SHARE), nn.Tanh()) for x, y in self.pairs}
        )
        self.guesses = nn.ModuleDict({m: nn.Linear(fusion_width, widths[m]) for m in self.modalities})
        self.fusion = Fusion(sum(widths[m] for m in self.modalities), fusion_width, dropout)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1 and not name.startswith("text_encoder."):
                nn.init.xavier_normal_(parameter)

    def forward(self, batch: FeatureBatch) -> MmimOutputs:
        """Predict a batch."""
        batch = self.encode(batch)
        features, masks = batch.features, batch.masks
        encoded = {
            m: self.encoders[m](x, self._read(masks[m], masks[LANGUAGE]))
            if m in self.encoders
            else text_vector(x, masks[m], self.text_pool)
            for m, x in features.items()
        }
        fused, prediction = self.fusion(torch.cat(list(encoded.values()), dim=-1))
        bounds = {}
        for x_name, y_name in self.pairs:
            pair, y = f"{x_name}_{y_name}", encoded[y_name]
            mean, log_variance = self.bounds[pair](encoded[x_name])
            bounds[pair] = Bound(mean, log_variance, target=y, projection=self.projections[pair](y))
        return MmimOutputs(
            prediction=prediction,
            features={f"encoded/{m}": v for m, v in encoded.items()},
            fused=fused,
            guessed={m: guess(fused) for m, guess in self.guesses.items()},
            bounds=bounds,
        )

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the trained parameters by group: ``text_encoder``, ``mutual_information`` and ``network``."""
        groups = super().parameter_groups()
        if self.entropy_group == "mutual_information":
            moved = list(self.projections.parameters())
            groups["mutual_information"] += moved
            groups["network"] = [p for p in groups["network"] if all(p is not other for other in moved)]
        return groups

    def _read(self, mask: Tensor, language: Tensor) -> Tensor:
        """Return the mask (B, T) of the frames that a recurrent layer reads."""
        return first_frames(mask, language) if self.reads_padding else mask


class ConditionalGaussian(nn.Module):
    """Mean and log σ² of y given x, each by a layer, ReLU and a layer.

    Args:
        x_dim: width of x.
        y_dim: width of y.
        bounded: whether a tanh keeps log σ² within -1 and 1.
    """

    def __init__(self, x_dim: int, y_dim: int, bounded: bool) -> None:
        super().__init__()
        self.bounded = bounded
        self.mean = nn.Sequential(nn.Linear(x_dim, y_dim), nn.ReLU(), nn.Linear(y_dim, y_dim))
        self.log_variance = nn.Sequential(nn.Linear(x_dim, y_dim), nn.ReLU(), nn.Linear(y_dim, y_dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log σ² of x (B, x_dim), each (B, y_dim)."""
        log_variance = self.log_variance(x)
        return self.mean(x), log_variance.tanh() if self.bounded else log_variance


class Fusion(nn.Module):
    """Dropout and three layers, with a tanh after the first two; z is what the second gives.

    Args:
        in_dim: width of all vectors together.
        width: of z.
        dropout: rate.
    """

    def __init__(self, in_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(dropout), nn.Linear(in_dim, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z (B, width) and the prediction (B, 1) of x (B, in_dim)."""
        z = self.layers(x)
        return z, self.head(z)


def _others(spec: FeatureSpec) -> tuple[str, ...]:
    """Return the modalities beside language.

    Raises:
        UsageError: there is no language, nothing beside it, or the labels have no sign.
    """
    found = ", ".join(spec.modalities)
    if LANGUAGE not in spec.dims:
        raise UsageError(f"data.modalities: found {found}; Mmim bounds what {LANGUAGE} tells of each other modality; have it among them")
    if len(spec.dims) < 2:
        raise UsageError(f"data.modalities: found {found} alone; Mmim needs another one beside it; add one, or use model=text_only")
    if spec.task != "regression":
        raise UsageError(
            f"data.task: found {spec.task}; Mmim needs regression, as its entropy is of the samples with positive and with negative "
            "labels; choose another network"
        )
    return tuple(m for m in spec.modalities if m != LANGUAGE)
