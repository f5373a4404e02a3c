"""The stages that both spaces have, made from their options; None where a stage is absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from dhmd.errors import UsageError
from dhmd.models.options import SpaceOptions
from dhmd.nn.dictionary import Codes, NoDictionary, SharedDictionary
from dhmd.nn.fusion import CodeFusion, FeatureOnly, HeadOutput
from dhmd.nn.graph_distillation import GraphDistillationUnit
from dhmd.outputs import Edges, Space


def heads_on_codes(options: SpaceOptions) -> bool:
    """Whether the heads under the Graph Distillation Unit read codes, not features."""
    return options.distillation is not None and options.distillation.input == "dictionary"


def build_dictionary(options: SpaceOptions, modalities: tuple[str, ...], in_dim: int) -> SharedDictionary | NoDictionary:
    """The space's dictionary on sequences of width ``in_dim``."""
    o = options.dictionary
    if o is None:
        return NoDictionary()
    return SharedDictionary(modalities, in_dim, o.entries, o.width, o.activation, o.pool, o.temperature, o.detach, o.init)


def build_fusion(dictionary: SharedDictionary | NoDictionary, modalities: tuple[str, ...], feature_dim: int) -> CodeFusion | FeatureOnly:
    """What joins a space's features with its codes."""
    return CodeFusion(modalities, feature_dim, dictionary.width) if dictionary.width else FeatureOnly()


def build_unit(
    space: str, options: SpaceOptions, modalities: tuple[str, ...], logit_dim: int, repr_dim: int
) -> GraphDistillationUnit | None:
    """The Graph Distillation Unit of the space of this name, on logits and representations of these widths.

    Raises:
        UsageError: the options contradict each other.
    """
    o = options.distillation
    if o is None:
        return None
    if not options.unimodal_heads:
        raise UsageError(
            "a graph distillation unit compares the unimodal heads: set unimodal_heads=true or distillation=null in this space"
        )
    if o.input == "dictionary" and options.dictionary is None:
        raise UsageError(f"model.{space}.distillation.input=dictionary needs the dictionary of this space: set one, or input=feature")
    if o.prior is True:
        raise UsageError(f'model.{space}.distillation.prior: found true; expected false for none, or a map "teacher->student: value"')
    prior = None if o.prior is False else o.prior
    try:
        return GraphDistillationUnit(modalities, logit_dim, repr_dim, o.width, o.edges, o.softmax_over, prior)
    except ValueError as e:
        raise UsageError(f"model.{space}.distillation: {e}") from e


def space_of(
    unit: GraphDistillationUnit | None,
    found: Codes,
    sequences: Mapping[str, Tensor],
    pooled: Mapping[str, Tensor],
    heads: Mapping[str, HeadOutput],
    representation: Literal["hidden", "refined"],
) -> Space:
    """A space from what its stages made; ``representation`` names the layer of a head that the unit compares."""
    logits = {m: h.logits for m, h in heads.items()}
    representations: dict[str, Tensor] = {m: getattr(h, representation) for m, h in heads.items()}
    return Space(
        sequences=sequences,
        pooled=pooled,
        logits=logits or None,
        representations=representations or None,
        edges=edges_of(unit, logits, representations),
        activations=found.activations or None,
        codes=found.codes or None,
    )


def edges_of(unit: GraphDistillationUnit | None, logits: Mapping[str, Tensor], representations: Mapping[str, Tensor]) -> Edges | None:
    """The edges of a batch, None without a unit."""
    if unit is None:
        return None
    found = unit(logits, representations)
    return Edges(unit.pairs, found.weights, found.distillation, found.prior)
