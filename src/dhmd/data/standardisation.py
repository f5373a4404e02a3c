"""Standardisation of features to mean 0 and deviation 1, measured on the training split and kept in checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dhmd.data.catalog import identify
from dhmd.data.store.reader import Store
from dhmd.data.store.statistics import varies
from dhmd.errors import data_error


@dataclass(frozen=True)
class Scaling:
    """Mean and standard deviation (d,) of one modality's features, over the real frames of train."""

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, statistics: npt.NDArray[np.float64]) -> Scaling:
        """Make a scaling from (3, d) count, mean, deviation; a feature that does not vary keeps its scale and is only centred."""
        _, mean, std = statistics
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(np.where(varies(statistics), std, 1.0)).float())


class Standardisation:
    """The scaling of a data set, its own or a checkpoint's, and the features that it was measured on.

    Args:
        wanted: whether features are standardised if no checkpoint was loaded.

    Attributes:
        scaling: scaling by modality; None if features stay raw.
    """

    def __init__(self, wanted: bool) -> None:
        self.scaling: dict[str, Scaling] | None = None
        self._wanted = wanted  # until a checkpoint is loaded
        self._trained_on: Mapping[str, Any] | None = None

    def fit(self, store: Store, file: Path | str) -> None:
        """Measure the training split, or check that the features have the modalities and widths of the checkpoint.

        Args:
            store: store of the features.
            file: to name in messages.

        Raises:
            DataError: the features do not fit the checkpoint.
        """
        if self._wanted:
            self.scaling = {m: Scaling.of(store.statistics(m)) for m in store.modalities}
        self.check(store, file)

    def check(self, store: Store, file: Path | str) -> None:
        """Check the features against the checkpoint, without measuring anything."""
        if self._trained_on is not None:
            check_fit(store, file, self._trained_on)

    def state(self, store: Store | None, name: str) -> dict[str, Any]:
        """Return the scaling and the features that a network was trained on, in plain values and tensors, for a checkpoint.

        Args:
            store: store of the features; None before it is open.
            name: name of the data set.
        """
        own = None if store is None else feature_set(store, name)
        scaling = {m: {"mean": s.mean, "std": s.std} for m, s in (self.scaling or {}).items()}
        return {"scaling": scaling, "trained_on": self._trained_on or own}

    def load(self, state: Mapping[str, Any]) -> None:
        """Use the state of a checkpoint; features stay raw if they were raw there."""
        scaling = scaling_of(state)
        self.scaling, self._wanted = scaling or None, False
        of_scaling = {"dims": {m: len(s.mean) for m, s in scaling.items()}} if scaling else None
        self._trained_on = state.get("trained_on") or of_scaling


def scaling_of(state: Mapping[str, Any]) -> dict[str, Scaling]:
    """Return the scaling by modality from the result of `Standardisation.state`; empty if features stay raw."""
    return {m: Scaling(torch.as_tensor(s["mean"]), torch.as_tensor(s["std"])) for m, s in state.get("scaling", {}).items()}


def feature_set(store: Store, name: str) -> dict[str, Any]:
    """Return a description of the features that a checkpoint was trained on, in plain values.

    Args:
        store: store of the features.
        name: name of the data set.
    """
    published = identify(store.source_sha256)
    return {
        "name": str(name),
        "file": store.source_name,
        "published_as": published.name if published else "",
        "modalities": list(store.modalities),
        "dims": dict(store.dims),
    }


def check_fit(store: Store, path: Path | str, trained_on: Mapping[str, Any]) -> None:
    """Raise an error if the modalities or widths of features differ from those that a checkpoint was trained on.

    Args:
        store: store of the features at hand.
        path: the file to name in messages.
        trained_on: feature set of the checkpoint, from `feature_set`; ``dims`` alone suffices.

    Raises:
        DataError: the features do not fit; the message names the feature set that does.
    """
    found, expected = store.dims, dict(trained_on["dims"])
    if found == expected and list(store.modalities) == list(trained_on.get("modalities", expected)):
        return
    file = trained_on.get("published_as") or trained_on.get("file")
    which = f", the features of {trained_on['name']} ({file}), on which it was trained" if "name" in trained_on else ""
    raise data_error(
        path,
        "",
        found=f"features that do not fit the checkpoint: widths {found}",
        expected=f"widths {expected}{which}",
        do="give features of that set, or train on these",
    )
