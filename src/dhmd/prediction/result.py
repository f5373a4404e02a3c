"""Predictions of a run as numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.runs.arrays import EdgeRecord

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """Predictions, edges and activations of a run for N samples.

    Attributes:
        prediction: (N, out_dim): the value of a regression, the logit of class 1 of a binary task, or a logit for each class.
        unimodal: (N, out_dim) by space and modality, or by modality for a network without spaces; empty without unimodal heads.
        edges: edges of each space; ``weights`` (N, E) in the order of ``pairs`` (teacher, student), None if edges are not learned.
            Empty without units.
        activations: activations (N, K) of the dictionary's entries by space and modality. Empty without dictionaries.
    """

    prediction: Array
    unimodal: Mapping[str, Any]
    edges: Mapping[str, EdgeRecord]
    activations: Mapping[str, Mapping[str, Array]]

    def __len__(self) -> int:
        return len(self.prediction)

    @property
    def heads(self) -> dict[str, Array]:
        """Unimodal heads (N, out_dim) by csv column: ``<space>_<modality>``, or ``unimodal_<modality>`` without spaces."""
        nodes = {name: x if isinstance(x, Mapping) else {"": x} for name, x in self.unimodal.items()}
        return {f"{name}_{m}" if m else f"unimodal_{name}": x for name, by_modality in nodes.items() for m, x in by_modality.items()}

    @property
    def active(self) -> dict[str, dict[str, list[Array]]]:
        """Numbers of the active entries (activation above 0) of each of the N samples, most active first, by space and modality."""
        return {space: {m: [_used(a) for a in rows] for m, rows in found.items()} for space, found in self.activations.items()}


def _used(activation: Array) -> Array:
    order = np.argsort(-activation, kind="stable")
    return order[activation[order] > 0]
