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

    The state goes into checkpoints, so that an epoch continued in its middle ends with the same means.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._samples = 0

    def update(self, values: Mapping[str, Tensor], samples: int) -> None:
        """Take the batch means of ``samples`` samples."""
        for name, value in values.items():
            weighted = value.detach().double() * samples  # stays on the device: no waiting for it in every batch
            self._sums[name] = self._sums[name] + weighted if name in self._sums else weighted
        self._samples += samples

    def compute(self, total: Total = same) -> dict[str, Tensor]:
        """The means of all samples since `reset`, of every process where ``total`` adds over them; empty when there were none."""
        samples = total(torch.tensor(float(self._samples), dtype=torch.float64))
        return {name: total(part).cpu() / samples.cpu() for name, part in self._sums.items()}

    def reset(self) -> None:
        """Forget everything."""
        self._sums, self._samples = {}, 0

    def state(self) -> dict[str, Any]:
        """Plain tensors and numbers, for a checkpoint."""
        return {"sums": {name: part.cpu() for name, part in self._sums.items()}, "samples": self._samples}

    def restore(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Continue from `state`, with values to come on ``device``."""
        self._sums = {name: part.to(device) for name, part in state["sums"].items()}
        self._samples = int(state["samples"])
