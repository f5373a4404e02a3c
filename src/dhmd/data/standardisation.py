"""Features of mean 0 and deviation 1, as measured on the training split: what a checkpoint keeps of its data."""

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
        """From (3, d) count, mean, deviation; a feature that does not vary keeps its scale and is only centred."""
        _, mean, std = statistics
        return cls(torch.from_numpy(mean).float(), torch.from_numpy(np.where(varies(statistics), std, 1.0)).float())


class Standardisation:
    """The scaling of a data set, of its own or from a checkpoint, and the features that it was measured on.

    Args:
        wanted: whether features are standardised where no checkpoint says.

    Attributes:
        scaling: by modality; None where features stay raw.
    """

    def __init__(self, wanted: bool) -> None:
        self.scaling: dict[str, Scaling] | None = None
        self._wanted = wanted  # until a checkpoint was loaded
        self._trained_on: Mapping[str, Any] | None = None

    def fit(self, store: Store, file: Path | str) -> None:
        """Measure the training split, or check that these features are of the modalities and widths of the checkpoint.

        Args:
            store: of the features.
            file: to name in messages.

        Raises:
            DataError: they are not.
        """
        if self._wanted:
            self.scaling = {m: Scaling.of(store.statistics(m)) for m in store.modalities}
        self.check(store, file)

    def check(self, store: Store, file: Path | str) -> None:
        """As `fit`, where there is nothing to measure."""
        if self._trained_on is not None:
            check_fit(store, file, self._trained_on)

    def state(self, store: Store | None, name: str) -> dict[str, Any]:
        """For a checkpoint, in plain values and tensors: the scaling, and the features that a network was trained on.

        Args:
            store: of the features; None before there is one.
            name: of the data set.
        """
        own = None if store is None else feature_set(store, name)
        scaling = {m: {"mean": s.mean, "std": s.std} for m, s in (self.scaling or {}).items()}
        return {"scaling": scaling, "trained_on": self._trained_on or own}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take a checkpoint's; features stay raw if they were raw there."""
        scaling = scaling_of(state)
        self.scaling, self._wanted = scaling or None, False
        of_scaling = {"dims": {m: len(s.mean) for m, s in scaling.items()}} if scaling else None
        self._trained_on = state.get("trained_on") or of_scaling


def scaling_of(state: Mapping[str, Any]) -> dict[str, Scaling]:
    """By modality, from what `Standardisation.state` gave; empty where features stay raw."""
    return {m: Scaling(torch.as_tensor(s["mean"]), torch.as_tensor(s["std"])) for m, s in state.get("scaling", {}).items()}


def feature_set(store: Store, name: str) -> dict[str, Any]:
    """What a checkpoint remembers of the features it was trained on, in plain values.

    Args:
        store: of the features.
        name: of the data set.
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
    """Refuse features of other modalities or widths than a checkpoint was trained on.

    Args:
        store: of the features at hand.
        path: the file to name in messages.
        trained_on: of the checkpoint, as `feature_set` made it; ``dims`` alone suffices.

    Raises:
        DataError: they do not fit; the message names the feature set that does.
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
