"""Stages that both spaces have, made from their options; None for an absent stage.

A user's own stage is given as a factory (in a configuration: a ``_target_`` with ``_partial_: true``). It is called with the following
arguments and returns a module:

- decoupling: (modalities, width, summary) -> a module whose call takes projected sequences (B, T'_m, d) and masks by modality and returns
  the fields of `dhmd.models.dmd.outputs.Decoupled` by name; ``summary(m)`` makes the layer (with ``out_dim``) from a modality's sequence
  to a vector;
- cross_modal_attention: (modalities, width, heads, layers) -> a module with ``out_dim`` H, whose call takes private parts (B, T'_m, d)
  and masks by modality and returns sequences (B, T'_m, H) by modality;
- dictionary: (modalities, in_dim) -> a module with ``width``, that of a code, whose call takes sequences (B, T_m, in_dim) and masks
  (B, T_m) or None by modality and returns `dhmd.nn.dictionary.Codes`;
- distillation: (modalities, logit_dim, repr_dim) -> a module with ``pairs``, the (teacher, student) of each edge, whose call takes logits
  and representations by modality and returns `dhmd.nn.graph_distillation.EdgeWeights`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor, nn

from dhmd.errors import UsageError
from dhmd.models.dmd.options import DecouplingOptions, DictionaryOptions, DistillationOptions, SpaceOptions, prior_of
from dhmd.models.dmd.outputs import Space
from dhmd.models.options import parse
from dhmd.nn.decoupling import Decoupling
from dhmd.nn.dictionary import Codes, NoDictionary, SharedDictionary
from dhmd.nn.fusion import CodeFusion, FeatureOnly, HeadOutput
from dhmd.nn.graph_distillation import GraphDistillationUnit
from dhmd.outputs import Edges


def heads_on_codes(options: SpaceOptions) -> bool:
    """Return whether the heads under the Graph Distillation Unit read codes, not features."""
    return isinstance(options.distillation, DistillationOptions) and options.distillation.input == "dictionary"


def build_decoupling(options: Any, modalities: tuple[str, ...], width: int, summary: Callable[[str], nn.Module]) -> Decoupling | None:
    """Return the decoupling of projected sequences of this width.

    Raises:
        UsageError: an option is unknown, or a factory returns no module.
    """
    if options is None:
        return None
    if callable(options):
        decoupling: Decoupling = own_stage(options(modalities, width, summary), "decoupling", "forward")
        return decoupling
    return Decoupling(modalities, width, summary, parse(DecouplingOptions, options, "model.decoupling").private_similarity)


def build_dictionary(options: SpaceOptions, modalities: tuple[str, ...], in_dim: int) -> SharedDictionary | NoDictionary:
    """Return the space's dictionary on sequences of width ``in_dim``."""
    o = options.dictionary
    if o is None:
        return NoDictionary()
    if not isinstance(o, DictionaryOptions):
        dictionary: SharedDictionary = own_stage(o(modalities, in_dim), "dictionary", "width")
        return dictionary
    return SharedDictionary(modalities, in_dim, o.entries, o.width, o.activation, o.pool, o.temperature, o.detach, o.init)


def share_entries(one: Any, other: Any) -> None:
    """Share the entries of one dictionary with another; each keeps its query networks.

    Raises:
        UsageError: a space has no dictionary, or their sizes differ.
    """
    sizes = [tuple(d.entries.shape) if hasattr(d, "entries") else None for d in (one, other)]
    if None in sizes or sizes[0] != sizes[1]:
        found = " and ".join("none" if size is None else "{} entries of width {}".format(*size) for size in sizes)
        raise UsageError(
            f"model.one_dictionary: found {found}; expected a dictionary in both spaces, of the same entries and width: "
            "set entries and width of model.homogeneous.dictionary and model.heterogeneous.dictionary"
        )
    other.entries = one.entries


def build_fusion(dictionary: SharedDictionary | NoDictionary, modalities: tuple[str, ...], feature_dim: int) -> CodeFusion | FeatureOnly:
    """Return the layer that joins a space's features with its codes."""
    return CodeFusion(modalities, feature_dim, dictionary.width) if dictionary.width else FeatureOnly()


def build_unit(
    space: str, options: SpaceOptions, modalities: tuple[str, ...], logit_dim: int, repr_dim: int
) -> GraphDistillationUnit | None:
    """Return the Graph Distillation Unit of a space, on logits and representations of these widths.

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
    if not isinstance(o, DistillationOptions):
        unit: GraphDistillationUnit = own_stage(o(modalities, logit_dim, repr_dim), "distillation", "pairs")
        return unit
    if o.input == "dictionary" and options.dictionary is None:
        raise UsageError(f"model.{space}.distillation.input=dictionary needs the dictionary of this space: set one, or input=feature")
    prior = prior_of(o.prior, modalities, f"model.{space}.distillation.prior")
    try:
        return GraphDistillationUnit(modalities, logit_dim, repr_dim, o.width, o.edges, o.softmax_over, prior)
    except ValueError as e:
        raise UsageError(f"model.{space}.distillation: {e}") from e


def space_of(
    unit: GraphDistillationUnit | None,
    found: Codes,
    sequences: Mapping[str, Tensor] | None,
    pooled: Mapping[str, Tensor],
    heads: Mapping[str, HeadOutput],
    representation: Literal["hidden", "refined"],
) -> Space:
    """Return a space from the results of its stages; ``representation`` names the layer of a head that the unit compares."""
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
    """Return the edges of a batch; None without a unit."""
    if unit is None:
        return None
    found = unit(logits, representations)
    return Edges(unit.pairs, found.weights, found.distillation, found.prior)


def own_stage(stage: object, kind: str, needs: str) -> Any:
    """Return a user's own stage after checking that it has the interface of the stage it replaces.

    Raises:
        UsageError: the factory returned no module, or the module lacks an attribute.
    """
    if not isinstance(stage, nn.Module) or not hasattr(stage, needs):
        raise UsageError(f"{kind}: the factory gave a {type(stage).__name__}; expected a torch.nn.Module with the attribute {needs}")
    return stage
