"""Outputs of decoupled distillation: two spaces, their stages, and the decoupling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dhmd.nn.temporal import masked_mean
from dhmd.outputs import Edges, Outputs


@dataclass(frozen=True)
class Space:
    """One decoupled space (homogeneous or heterogeneous) of a batch.

    Attributes:
        sequences: per modality (B, T'_m, H), the input of the space's heads, dictionary and fusion; None if they read ``pooled`` only.
        logits: per modality (B, out_dim), the unimodal heads; None without them.
        representations: per modality (B, H), compared by the Graph Distillation Unit; None without the heads.
        edges: the unit's edges; None without a unit.
        activations: per modality (B, K) sparse activations of the dictionary; None without one.
        codes: per modality (B, H) L2-normalised codes; None without a dictionary.
        pooled: per modality (B, H) the feature that enters fusion, before any code is joined.
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
        similarity: (B, d), c_m as the margin loss reads it.
        private_similarity: (B, d), the same for s_m; the authors compute it and use it nowhere, so it is None except in their preset.
    """

    projected: Mapping[str, Tensor]
    shared: Mapping[str, Tensor]
    private: Mapping[str, Tensor]
    reconstruction: Mapping[str, Tensor]
    cycle: Mapping[str, Tensor]
    similarity: Mapping[str, Tensor]
    private_similarity: Mapping[str, Tensor] | None = None


@dataclass(frozen=True)
class DecoupledOutputs(Outputs):
    """Outputs of decoupled distillation. An absent stage leaves None.

    Attributes:
        masks: per modality (B, T'_m) bool, the real frames after the projection.
        shared_logits: (B, out_dim), the head on the fused homogeneous features.
        homogeneous: the homogeneous space.
        heterogeneous: the heterogeneous space.
        decoupled: the decoupling.
    """

    masks: Mapping[str, Tensor] | None = None
    shared_logits: Tensor | None = None
    homogeneous: Space | None = None
    heterogeneous: Space | None = None
    decoupled: Decoupled | None = None

    @property
    def spaces(self) -> dict[str, Space]:
        """Spaces of the network by name; absent spaces are left out."""
        both = {"homogeneous": self.homogeneous, "heterogeneous": self.heterogeneous}
        return {name: space for name, space in both.items() if space is not None}

    @property
    def heads(self) -> Mapping[str, Tensor]:
        """Logits (B, out_dim) of each space's unimodal heads, by ``<space>/<modality>``."""
        return {f"{name}/{m}": x for name, space in self.spaces.items() for m, x in (space.logits or {}).items()}

    @property
    def edges(self) -> Mapping[str, Edges]:
        """Edges of each space's Graph Distillation Unit."""
        return {name: space.edges for name, space in self.spaces.items() if space.edges is not None}

    def arrays(self) -> dict[str, Tensor]:
        """Return `Outputs.arrays` with both spaces' heads, features, dictionary activations and decoupled parts.

        ``decoupled/<space>/<modality>`` (B, d) is the mean over the real frames of c_m (homogeneous) and s_m (heterogeneous).
        """
        found = super().arrays()
        for name, space in self.spaces.items():
            found |= {f"activations/{name}/{m}": x for m, x in (space.activations or {}).items()}
            found |= {f"embeddings/{name}/{m}": x for m, x in space.pooled.items()}
        if self.decoupled is not None:
            masks = self.masks or {}
            for name, sequences in (("homogeneous", self.decoupled.shared), ("heterogeneous", self.decoupled.private)):
                found |= {f"decoupled/{name}/{m}": masked_mean(x, masks.get(m)) for m, x in sequences.items()}
        return found

    def complete(self) -> DecoupledOutputs:
        """Return the same outputs with a mask for every sequence, because another process may have padding even if this one has none."""
        space = self.homogeneous or self.heterogeneous
        if space is None:
            return self
        every = {m: x.new_ones(x.shape[:2], dtype=torch.bool) for m, x in (space.sequences or {}).items()}
        return replace(self, masks={**every, **(self.masks or {})})
