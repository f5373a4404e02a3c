"""A finished run, brought back from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dhmd.batch import FeatureSpec
from dhmd.config import instantiate
from dhmd.data.module import FeatureDataModule
from dhmd.errors import RunError
from dhmd.training.build import build_data, build_module
from dhmd.training.checkpoints import BEST
from dhmd.training.module import DistillationModule
from dhmd.training.quiet import quiet
from dhmd.training.record import RunFolder


@dataclass(frozen=True)
class Run:
    """A run with its network at the best epoch and its data.

    Attributes:
        folder: where it lies.
        config: its configuration, plain.
        module: network, objective and monitored loss; the network in evaluation mode.
        data: its data module, set up, with the training split's statistics.
    """

    folder: RunFolder
    config: dict[str, Any]
    module: DistillationModule
    data: FeatureDataModule

    @property
    def network(self) -> nn.Module:
        """The network."""
        return self.module.network


def load_run(path: str | Path, data_path: str | Path | None = None) -> Run:
    """Rebuild network and data of a run from its record.

    Args:
        path: the run folder.
        data_path: another data file of the same kind; None for the run's own.

    Raises:
        RunError: no run is there, it has no checkpoint, or the data does not fit the network.
        DataError: the data is missing or wrong.
    """
    folder = RunFolder(Path(path))
    config = folder.config()
    file = folder.checkpoints / BEST
    if not file.exists():
        raise RunError(f"{file}: missing: the run has not finished an epoch; continue it with `dhmd train resume={folder.path}`")
    try:
        checkpoint = torch.load(file, weights_only=True, map_location="cpu")
        spec, weights = FeatureSpec(**checkpoint["spec"]), checkpoint["state_dict"]
    except Exception as error:  # torch names no class for a damaged file
        raise RunError(f"{file}: not readable as a checkpoint of dhmd: {type(error).__name__}: {error}") from error

    changes = {} if data_path is None else {"path": str(data_path)}
    with quiet():
        text_encoder = instantiate(config["text_encoder"], "text_encoder")
        data = build_data(config, text_encoder, state=checkpoint.get("FeatureDataModule"), **changes)
        _check_fit(spec, data.spec, folder.path)
        module = build_module(config, text_encoder, spec)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"{file}: does not fit the run's config.yaml: {error}") from error
    module.network.eval()
    return Run(folder, config, module, data)


def _check_fit(trained: FeatureSpec, found: FeatureSpec, path: Path) -> None:
    """Data of other modalities, widths or labels cannot be read by the network; other lengths can, where it pools."""
    for name in ("modalities", "dims", "task", "n_classes"):
        before, now = getattr(trained, name), getattr(found, name)
        if before != now:
            raise RunError(f"{path}: the run was trained on data with {name} {_plain(before)}, the data given has {_plain(now)}")


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
