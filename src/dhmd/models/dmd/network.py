"""DMD and DHMD: one network with optional stages, chosen by configuration (conf/model)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dhmd.batch import LANGUAGE, MODALITIES, FeatureBatch, FeatureSpec
from dhmd.errors import UsageError
from dhmd.models.base import Citation, Network
from dhmd.models.dmd.options import DecouplingOptions, Dropout, Factory, SpaceOptions
from dhmd.models.dmd.outputs import Decoupled, DecoupledOutputs
from dhmd.models.dmd.spaces import HeterogeneousBranch, HomogeneousBranch
from dhmd.models.dmd.stages import build_decoupling, own_stage, share_entries
from dhmd.models.options import MAX_RATE, choose, parse, whole, within
from dhmd.models.per_modality import by_modality
from dhmd.nn.cross_modal import CrossModalAttention, SelfAttentionOnly
from dhmd.nn.dropout import dropout as drop
from dhmd.nn.encoder import Encoders, Rates
from dhmd.nn.fusion import Gate, ResidualHead
from dhmd.nn.temporal import Flatten, MaskedMean, TemporalProjection


class DecoupledDistillation(Network):
    """DMD (CVPR 2023) and, with a dictionary in each space, DHMD (TPAMI 2026).

    Args:
        spec: specification of the data.
        text_encoder: encoder of tokens to language features; None if the features are given.
        width: d.
        heads: number of attention heads.
        layers: number of layers of each encoder; the memory of cross-modal attention has at least three.
        kernels: window of the temporal projection, one number or one a modality.
        source_order: the order in which cross-modal attention joins a target's sources.
        padding: ``masked`` (padding makes no difference) or ``authors`` (every frame counts; a frame whose first channel is 0
            gets position zero).
        causal: whether a query sees only keys up to its own time; see ``dhmd.nn.cpu.attention_mask.Visibility``.
        summary: vector of a sequence for the heads: ``flatten`` (all batches have one T'), ``pool`` (masked mean), or ``auto``:
            flatten on aligned data, pool on unaligned.
        gate: gate of the last fusion; ``replace`` (authors' code: sigmoid(W x) takes the place of x) or ``multiply``.
        dropout: see :class:`~dhmd.models.dmd.options.Dropout`.
        decoupling: options of the decoupling; or None for s_m = c_m = the projected sequence; or a factory, see
            ``dhmd.models.dmd.stages``.
        cross_modal_attention: False for a self-attention encoder a modality instead; or a factory.
        homogeneous: stages of the homogeneous space, see :class:`~dhmd.models.dmd.options.SpaceOptions`.
        heterogeneous: stages of the heterogeneous space.
        one_dictionary: whether both spaces share the entries of one dictionary; both are needed, of the same sizes.

    Raises:
        UsageError: options contradict each other or the data.
    """

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "graph_units": ("homogeneous.unit", "heterogeneous.unit"),
        "dictionaries": ("homogeneous.dictionary", "heterogeneous.dictionary"),
    }
    source: ClassVar[Citation] = Citation(
        "Li, Wang and Cui, Decoupled Multimodal Distilling for Emotion Recognition, CVPR 2023; Li et al., DHMD, TPAMI 2026",
        "mdswyz/DMD@516d4e1",
    )

    def __init__(
        self,
        spec: FeatureSpec,
        text_encoder: nn.Module | None = None,
        *,
        width: int = 50,
        heads: int = 10,
        layers: int = 4,
        kernels: Mapping[str, int] | int = 5,
        source_order: Sequence[str] = (),
        padding: Literal["masked", "authors"] = "masked",
        causal: bool = False,
        summary: Literal["flatten", "pool", "auto"] = "flatten",
        gate: Literal["replace", "multiply"] = "replace",
        dropout: Mapping[str, Any] | Dropout | None = None,
        decoupling: Mapping[str, Any] | DecouplingOptions | Factory | None = None,
        cross_modal_attention: bool | Factory = True,
        homogeneous: Mapping[str, Any] | SpaceOptions | None = None,
        heterogeneous: Mapping[str, Any] | SpaceOptions | None = None,
        one_dictionary: bool = False,
    ) -> None:
        super().__init__(spec, text_encoder)
        spec, modalities = self.spec, self.modalities
        if len(modalities) < 2:
            raise UsageError(f"decoupled distillation needs two modalities at least, found {', '.join(modalities)}; use model=text_only")
        for key, value in (("width", width), ("heads", heads), ("layers", layers)):
            whole(value, f"model.{key}")
        if width % heads:
            raise UsageError(f"model.width={width} is not a multiple of model.heads={heads}")
        choose(padding, ("masked", "authors"), "model.padding")
        choose(summary, ("flatten", "pool", "auto"), "model.summary")
        choose(gate, ("replace", "multiply"), "model.gate")
        rates = parse(Dropout, dropout or {}, "model.dropout")
        homo = parse(SpaceOptions, homogeneous or {}, "model.homogeneous")
        hetero = parse(SpaceOptions, heterogeneous or {}, "model.heterogeneous")
        self.masked, self.text_dropout = padding == "masked", rates.text
        self.reads_padding = not self.masked

        pool = summary == "pool" or (summary == "auto" and not spec.aligned)
        kernel = by_modality(kernels, modalities, "model.kernels")
        for m in modalities:
            whole(kernel[m], f"model.kernels.{m}")
        # full windows at both ends make a sample's frames independent of its padding; flattened heads have a fixed number of frames
        full = self.masked and pool
        self.projection = nn.ModuleDict({m: TemporalProjection(spec.dims[m], width, kernel[m], full) for m in modalities})
        try:
            lengths = {m: self.projection[m].length(spec.lengths[m]) for m in modalities}  # type: ignore[operator]
        except ValueError as e:
            raise UsageError(f"model.kernels: {e}") from e

        def summarise(m: str) -> nn.Module:
            return MaskedMean(width) if pool else Flatten(lengths[m], width)

        rest = Rates(rates.relu, rates.residual, rates.embedding)
        by_source = by_modality(rates.attention, modalities, "model.dropout.attention", default=0.0)
        for m in modalities:
            within(by_source[m], 0, MAX_RATE, f"model.dropout.attention.{m}")
        common: dict[str, Any] = {"causal": causal, "zero_is_padding": not self.masked}
        if callable(cross_modal_attention):
            attention = own_stage(cross_modal_attention(modalities, width, heads, layers), "cross_modal_attention", "out_dim")
        elif cross_modal_attention:
            order = _complete(source_order, modalities)
            attention = CrossModalAttention(modalities, width, heads, layers, by_source, rates.memory, rest, order, **common)
        else:
            attention = SelfAttentionOnly(modalities, width, heads, layers, by_source, rest, **common)
        encoder = Encoders(modalities, width, heads, layers, tuple(by_source[m] for m in modalities), rest, **common)
        self.decoupling = build_decoupling(decoupling, modalities, width, summarise)
        self.homogeneous = HomogeneousBranch(modalities, width, spec.out_dim, homo, summarise, encoder, rates.output)
        self.heterogeneous = HeterogeneousBranch(modalities, spec.out_dim, hetero, attention, rates.output)
        if one_dictionary:
            share_entries(self.homogeneous.dictionary, self.heterogeneous.dictionary)
        self.gates = nn.ModuleDict({m: Gate(attention.out_dim, gate) for m in modalities})
        self.shared_gate = Gate(len(modalities) * width, gate)
        total = len(modalities) * (attention.out_dim + width)
        self.head = ResidualHead(total, total, spec.out_dim, rates.output)

    def forward(self, batch: FeatureBatch) -> DecoupledOutputs:
        """Predict a batch. Features are read in modality order, in whatever order they are given.

        Raises:
            ValueError: a modality is missing, or shapes do not fit the specification.
        """
        batch = self.encode(batch)
        projected: dict[str, Tensor] = {}
        masks: dict[str, Tensor | None] = {}
        for m in self.modalities:
            x = batch.features[m]
            if m == LANGUAGE:
                x = drop(x, self.text_dropout, self.training)
            projected[m], masks[m] = self.projection[m](x, batch.masks[m] if self.masked else None)
        decoupled = None if self.decoupling is None else Decoupled(**self.decoupling(projected, masks))
        shared, private = (projected, projected) if decoupled is None else (decoupled.shared, decoupled.private)
        homogeneous = self.homogeneous(shared, masks)
        heterogeneous = self.heterogeneous(private, masks)
        gated = [self.gates[m](heterogeneous.fused[m]) for m in self.modalities]
        prediction = self.head(torch.cat([*gated, self.shared_gate(homogeneous.fused)], dim=-1)).logits
        return DecoupledOutputs(
            prediction=prediction,
            masks={m: mask for m, mask in masks.items() if mask is not None} or None,
            shared_logits=homogeneous.shared_logits,
            homogeneous=homogeneous.space,
            heterogeneous=heterogeneous.space,
            decoupled=decoupled,
        )


def _complete(order: Sequence[str], modalities: tuple[str, ...]) -> tuple[str, ...]:
    """Return the modalities in the given order; modalities that it does not name come last.

    Raises:
        UsageError: the order is no list of names, or names a modality that neither the papers nor the data have.
    """
    known = {*modalities, *MODALITIES}
    if isinstance(order, str) or (unknown := [m for m in order if m not in known]):
        found = order if isinstance(order, str) else unknown[0]
        raise UsageError(f"model.source_order: found {found!r}; expected a list of modalities among {', '.join(modalities)}")
    return (*(m for m in order if m in modalities), *(m for m in modalities if m not in order))
