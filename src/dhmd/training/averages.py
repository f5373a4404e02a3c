"""Means over an epoch of quantities that come batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Total = Callable[[Tensor], Tensor]
"""Adds a tensor over processes."""


def same(part: Tensor) -> Tensor:
    """The total of one process."""
    return part


class EpochMeans:
    """The mean over samples of named values, each given as a batch's mean (any shape); kept in double precision.

    A value that only some batches have is averaged over the samples of these. The state goes into checkpoints, so that an epoch continued
    in its middle ends with the same means.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._samples: dict[str, int] = {}

    def update(self, values: Mapping[str, Tensor], samples: int) -> None:
        """Take the batch means of ``samples`` samples."""
        for name, value in values.items():
            weighted = value.detach().double() * samples  # stays on the device: no waiting for it in every batch
            self._sums[name] = self._sums[name] + weighted if name in self._sums else weighted
            self._samples[name] = self._samples.get(name, 0) + samples

    def compute(self, total: Total = same) -> dict[str, Tensor]:
        """Return the means of all samples since `reset`, of every process where ``total`` adds over them; empty when there were none."""
        counts = total(torch.tensor([float(self._samples[name]) for name in self._sums], dtype=torch.float64)).cpu()
        return {name: total(part).cpu() / count for (name, part), count in zip(self._sums.items(), counts, strict=True)}

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._samples = {}, {}

    def state(self) -> dict[str, Any]:
        """Return plain tensors and numbers, for a checkpoint."""
        return {"sums": {name: part.cpu() for name, part in self._sums.items()}, "samples": dict(self._samples)}

    def restore(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Continue from `state`, with values to come on ``device``."""
        self._sums = {name: part.to(device) for name, part in state["sums"].items()}
        self._samples = dict(state["samples"])
