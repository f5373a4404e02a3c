"""What every network returns: the prediction and whatever its stages produced. An absent stage leaves None."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from torch import Tensor

from dhmd.batch import Pairs


@dataclass(frozen=True)
class Edges:
    """Edge weights of one Graph Distillation Unit, in the order of ``pairs``.

    Attributes:
        pairs: (teacher, student) of each edge, E = M (M - 1) of them.
        weights: (B, E) learned weights w, after the softmax; None where edges are fixed or uniform.
        distillation: (B, E) the weight each edge's distance gets (w + p with a prior, w without, p when fixed).
        prior: (E,) the prior p; None where there is none.
    """

    pairs: Pairs
    weights: Tensor | None
    distillation: Tensor
    prior: Tensor | None


@dataclass(frozen=True)
class Space:
    """One decoupled space (homogeneous or heterogeneous) of a batch.

    Attributes:
        sequences: per modality (B, T'_m, H), what the space's heads, dictionary and fusion read; None where they read ``pooled`` alone.
        logits: per modality (B, out_dim), the unimodal heads; None without them.
        representations: per modality (B, H), what the Graph Distillation Unit compares; None without the heads.
        edges: the unit's edges; None without a unit.
        activations: per modality (B, K) sparse activations of the dictionary; None without one.
        codes: per modality (B, H) L2-normalised codes; None without a dictionary.
        pooled: per modality (B, H) the feature that goes into fusion, before any code is joined.
    """

    sequences: Mapping[str, Tensor] | None
    pooled: Mapping[str, Tensor]
    logits: Mapping[str, Tensor] | None = None
    representations: Mapping[str, Tensor] | None = None
    edges: Edges | None = None
    activations: Mapping[str, Tensor] | None = None
    codes: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Decoupled:
    """The decoupling by self-regression, per modality; every sequence is (B, T'_m, d).

    Attributes:
        projected: the projected sequence X~_m, which is to be reconstructed.
        shared: c_m, from the encoder shared by the modalities (homogeneous).
        private: s_m, from the modality's own encoder (heterogeneous).
        reconstruction: D_m([s_m ; c_m]).
        cycle: the private encoder on the reconstruction.
        similarity: (B, d), c_m as the margin loss sees it.
        private_similarity: (B, d), the same of s_m; the authors compute it and use it nowhere, so None but in their preset.
    """

    projected: Mapping[str, Tensor]
    shared: Mapping[str, Tensor]
    private: Mapping[str, Tensor]
    reconstruction: Mapping[str, Tensor]
    cycle: Mapping[str, Tensor]
    similarity: Mapping[str, Tensor]
    private_similarity: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class Outputs:
    """What a network returns for a batch.

    Attributes:
        prediction: (B, out_dim).
        masks: per modality (B, T'_m) bool, the real frames after the projection.
        shared_logits: (B, out_dim), the head on the fused homogeneous features.
        homogeneous: the homogeneous space.
        heterogeneous: the heterogeneous space.
        decoupled: the decoupling.
    """

    prediction: Tensor
    masks: Mapping[str, Tensor] | None = None
    shared_logits: Tensor | None = None
    homogeneous: Space | None = None
    heterogeneous: Space | None = None
    decoupled: Decoupled | None = None

    @property
    def spaces(self) -> dict[str, Space]:
        """The spaces there are, by name."""
        both = {"homogeneous": self.homogeneous, "heterogeneous": self.heterogeneous}
        return {name: space for name, space in both.items() if space is not None}


def map_samples(node: Any, change: Callable[[Tensor], Any]) -> Any:
    """The same structure with every tensor that has a row a sample changed, in a fixed order: outputs, or a part of them."""
    if isinstance(node, Tensor):
        return change(node)
    if isinstance(node, Mapping):
        return {key: map_samples(value, change) for key, value in node.items()}
    if is_dataclass(node) and not isinstance(node, type):
        kept = {"prior"} if isinstance(node, Edges) else set()  # (E,), the same for all
        return replace(node, **{f.name: map_samples(getattr(node, f.name), change) for f in fields(node) if f.name not in kept})
    return node
