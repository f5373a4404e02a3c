"""Means over an epoch of quantities that come batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]
"""Function that adds a tensor over processes."""


def same(part: Tensor) -> Tensor:
    """Return ``part`` unchanged: it is the total of one process."""
    return part


class EpochMeans:
    """Mean over samples of named values, each given as a batch's mean (any shape); kept in double precision.

    A value that only some batches have is averaged over the samples of these batches. The state is saved in checkpoints, so that an
    epoch resumed in its middle ends with the same means.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._samples: dict[str, int] = {}

    def update(self, values: Mapping[str, Tensor], samples: int) -> None:
        """Add the batch means of ``samples`` samples."""
        for name, value in values.items():
            weighted = value.detach().double() * samples  # stays on the device, so that no batch waits for it
            self._sums[name] = self._sums[name] + weighted if name in self._sums else weighted
            self._samples[name] = self._samples.get(name, 0) + samples

    def compute(self, total: Total = same) -> dict[str, Tensor]:
        """Return the means of all samples since `reset`, over all processes if ``total`` adds over them; empty without samples."""
        counts = total(torch.tensor([float(self._samples[name]) for name in self._sums], dtype=torch.float64)).cpu()
        return {name: total(part).cpu() / count for (name, part), count in zip(self._sums.items(), counts, strict=True)}

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._samples = {}, {}

    def state(self) -> dict[str, Any]:
        """Return the state as plain tensors and numbers, for a checkpoint."""
        return {"sums": {name: part.cpu() for name, part in self._sums.items()}, "samples": dict(self._samples)}

    def restore(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Continue from `state`, with values to come on ``device``."""
        self._sums = {name: part.to(device) for name, part in state["sums"].items()}
        self._samples = dict(state["samples"])
