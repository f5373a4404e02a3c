"""Use of edges and dictionaries by the samples of each class, epoch by epoch, for the analysis of drift over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dhmd.batch import FeatureSpec
from dhmd.evaluation.metrics import sentiment_class

PREFIX = "by_class/"  # prefix of the names of batch means
SHARE = "training/class_share"


class ByClass:
    """Means over the validation samples of each class, one row an epoch.

    Sums over a class are kept as means over all samples, beside the class's share of them, so that they can be averaged over batches and
    processes like other means.

    Args:
        spec: specification of the data; regression has the seven classes of ACC7.
    """

    def __init__(self, spec: FeatureSpec) -> None:
        self.regression = spec.task == "regression"
        n = spec.n_classes if spec.task == "multiclass" else 2
        self.classes = list(range(-3, 4)) if self.regression else list(range(n))
        self.share: Tensor | None = None
        self.rows: dict[str, list[Tensor]] = {}

    def parts(self, arrays: Mapping[str, Tensor], label: Tensor) -> dict[str, Tensor]:
        """Return a batch's contributions, to be averaged over batches by their sizes.

        Args:
            arrays: arrays of `Outputs.arrays`; edges and activations are read.
            label: (B,).
        """
        numbers = torch.from_numpy(sentiment_class(label.cpu().numpy())) if self.regression else label.cpu().long()
        member = (numbers.unsqueeze(1) == torch.tensor(self.classes)).float().to(label.device)  # (B, C)
        found: dict[str, Tensor] = {}
        for name, x in arrays.items():
            if name.startswith("activations/"):
                found[f"training/{name}"] = member.T @ x / len(label)
            elif name.startswith("edges/"):
                found[f"{name}/validation_by_class"] = member.T @ x / len(label)
        return {PREFIX + name: part for name, part in {SHARE: member.mean(dim=0), **found}.items()} if found else {}

    def add(self, means: Mapping[str, Tensor]) -> None:
        """Add an epoch, from its means; means that are none of its `parts` are ignored."""
        own = {name.removeprefix(PREFIX): mean for name, mean in means.items() if name.startswith(PREFIX)}
        if not own:
            return
        self.share = share = own.pop(SHARE)
        for name, mean in own.items():
            self.rows.setdefault(name, []).append(torch.where(share.unsqueeze(1) > 0, mean / share.unsqueeze(1), 0).float())

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return arrays by name in record.h5: (epochs, C, K) or (epochs, C, E) means, 0 for a class without samples; classes and shares."""
        if self.share is None:
            return {}
        named = {name: torch.stack(rows).numpy() for name, rows in self.rows.items()}
        return {"training/classes": np.array(self.classes), SHARE: self.share.numpy(), **named}

    def state(self) -> dict[str, Any]:
        """Return plain tensors, for a checkpoint."""
        return {"share": self.share, "rows": {name: torch.stack(rows) for name, rows in self.rows.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`."""
        self.share = state["share"]
        self.rows = {name: list(rows.unbind()) for name, rows in state["rows"].items()}
