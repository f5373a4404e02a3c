"""Outputs of a network for a batch, and their arrays by name, as records, predictions, exports and analyses read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, TypeVar

from torch import Tensor

from dhmd.batch import Pairs

T = TypeVar("T")


@dataclass(frozen=True)
class Edges:
    """Edge weights of one Graph Distillation Unit, in the order of ``pairs``.

    Attributes:
        pairs: (teacher, student) of each edge, E = M (M - 1) of them.
        weights: (B, E) learned weights w, after the softmax; None where edges are fixed or uniform.
        distillation: (B, E) weight of each edge's distance (w + p with a prior, w without, p when fixed).
        prior: (E,) the prior p; None where there is none.
    """

    pairs: Pairs
    weights: Tensor | None
    distillation: Tensor
    prior: Tensor | None


@dataclass(frozen=True)
class Outputs:
    """Outputs that every network returns for a batch; a network with further outputs returns a subclass.

    Every tensor has a row a sample, so that outputs can be gathered over processes (`Edges.prior` alone is the same for all).

    Attributes:
        prediction: (B, out_dim).
        unimodal: (B, out_dim) of each unimodal head, by name, for example ``language``.
        features: (B, H) features that enter the last fusion, by ``<space>/<modality>``, for example ``private/language``.
    """

    prediction: Tensor
    unimodal: Mapping[str, Tensor] = field(default_factory=dict)
    features: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def heads(self) -> Mapping[str, Tensor]:
        """Logits (B, out_dim) of each unimodal head, by ``<modality>`` or ``<space>/<modality>``."""
        return self.unimodal

    @property
    def edges(self) -> Mapping[str, Edges]:
        """Edges of each space's Graph Distillation Unit; empty for a network without one."""
        return {}

    def arrays(self) -> dict[str, Tensor]:
        """Return every recorded array of the batch by name, with one row a sample.

        ``prediction``; ``unimodal/<head>`` (B, out_dim); ``embeddings/<space>/<modality>`` (B, H); ``edges/<space>`` (B, E), the learned
        weights; a subclass may add ``activations/<space>/<modality>`` (B, K) and others.
        """
        return {
            "prediction": self.prediction,
            **{f"unimodal/{name}": x for name, x in self.heads.items()},
            **{f"edges/{space}": edges.weights for space, edges in self.edges.items() if edges.weights is not None},
            **{f"embeddings/{name}": x for name, x in self.features.items()},
        }

    def complete(self) -> Outputs:
        """Return the same outputs with every optional tensor filled in, so that all processes have the same tensors to gather."""
        return self


def nested(arrays: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the arrays of one kind as a tree: an array named ``kind/a/b`` is at ``["a"]["b"]``.

    >>> nested({"unimodal/language": 1, "edges/homogeneous": 2}, "unimodal")
    {'language': 1}
    """
    found: dict[str, Any] = {}
    for name, value in arrays.items():
        if name.startswith(f"{kind}/"):
            *path, last = name.removeprefix(f"{kind}/").split("/")
            node = found
            for part in path:
                node = node.setdefault(part, {})
            node[last] = value
    return found


def heads_of(arrays: Mapping[str, T]) -> dict[str, T]:
    """Return the prediction and each unimodal head by the name of its csv column.

    >>> heads_of({"prediction": 1, "unimodal/homogeneous/language": 2, "unimodal/vision": 3})
    {'prediction': 1, 'homogeneous_language': 2, 'unimodal_vision': 3}
    """
    paths = {name: name.split("/") for name in arrays if name.startswith("unimodal/")}
    return {"prediction": arrays["prediction"]} | {"_".join(path[-2:]): arrays[name] for name, path in paths.items()}


def map_samples(node: Any, change: Callable[[Tensor], Any]) -> Any:
    """Return the same structure (outputs or a part of them) with every per-sample tensor changed, in a fixed order."""
    if isinstance(node, Tensor):
        return change(node)
    if isinstance(node, Mapping):
        return {key: map_samples(value, change) for key, value in node.items()}
    if is_dataclass(node) and not isinstance(node, type):
        kept = {"prior"} if isinstance(node, Edges) else set()  # (E,), the same for all
        return replace(node, **{f.name: map_samples(getattr(node, f.name), change) for f in fields(node) if f.name not in kept})
    return node
