"""Reference numbers of public code, and what an adapter finds for them."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Reference:
    """A file of reference numbers.

    Attributes:
        path: the file.
        config: its sizes and options.
        arrays: everything else, by key.
    """

    path: Path
    config: Mapping[str, Any]
    arrays: Mapping[str, Array]

    @classmethod
    def read(cls, path: Path) -> Reference:
        """Read a file; nothing in it is executed."""
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        text = str(arrays.pop("config"))
        try:
            config = json.loads(text)
        except ValueError:
            config = ast.literal_eval(text)
        return cls(path, config, arrays)

    def tensor(self, key: str) -> Tensor:
        """Return an array as a float32 tensor."""
        return torch.from_numpy(np.array(self.arrays[key], np.float32))

    def under(self, prefix: str) -> dict[str, Tensor]:
        """Return the arrays whose keys begin with a prefix, without it."""
        return {key.removeprefix(prefix): self.tensor(key) for key in self.arrays if key.startswith(prefix)}

    def mask(self, lengths: str, frames: int) -> Tensor:
        """Return the mask (B, frames) of the lengths (B,) under a key."""
        return torch.arange(frames) < self.tensor(lengths).long().reshape(-1, 1)


@dataclass
class Found:
    """Results of our implementation for a reference.

    Attributes:
        values: outputs, losses, states and gradient norms under the reference's own keys.
        names: the reference's name (without ``model.``) of each of our parameters and buffers, by our name.
    """

    values: dict[str, Tensor] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def load(module: nn.Module, reference: Reference, names: Mapping[str, str]) -> None:
    """Give a module the reference's weights; every parameter and buffer must have a name there."""
    weights = reference.under("model.")
    module.load_state_dict({ours: weights[theirs] for ours, theirs in names.items()}, strict=True)


def gradient_norms(module: nn.Module, names: Mapping[str, str], prefix: str = "gradnorm.") -> dict[str, Tensor]:
    """Return the norm of each parameter's gradient under the reference's key; none where there is no gradient."""
    return {prefix + names[name]: p.grad.norm() for name, p in module.named_parameters() if p.grad is not None}


def lstm_names(ours: str, theirs: str, bidirectional: bool = False) -> dict[str, str]:
    """Return the names of a `dhmd.nn.recurrent.MaskedLSTM` beside those of a one-layer `torch.nn.LSTM`."""
    kinds = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    names = {f"{ours}.ahead.{kind}": f"{theirs}.{kind}" for kind in kinds}
    return names | ({f"{ours}.back.{kind}": f"{theirs}.{kind}_reverse" for kind in kinds} if bidirectional else {})


def linear_names(ours: str, theirs: str) -> dict[str, str]:
    """Return the names of a layer's weight and bias beside the reference's."""
    return {f"{ours}.{kind}": f"{theirs}.{kind}" for kind in ("weight", "bias")}
