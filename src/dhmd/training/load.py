"""Loading of a finished run from its folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dhmd.batch import LANGUAGE, MODALITIES, FeatureSpec
from dhmd.config import instantiate
from dhmd.data.module import FeatureDataModule
from dhmd.errors import RunError, UsageError
from dhmd.runs.folder import RunFolder
from dhmd.runs.upgrade import upgraded_checkpoint
from dhmd.training.build import build_data, build_module, encode_once
from dhmd.training.module import MultimodalModule
from dhmd.training.warnings_filter import quiet


@dataclass(frozen=True)
class LoadedNetwork:
    """A run's trained network without its data.

    Attributes:
        folder: folder of the run.
        config: its configuration in plain types.
        module: network at the best epoch, objective and monitored loss; the network in evaluation mode.
        text_encoder: the network's text encoder, which has the tokenizer.
        data_state: the data module's state in the checkpoint, which holds the scaling of features; None if there is none.
    """

    folder: RunFolder
    config: dict[str, Any]
    module: MultimodalModule
    text_encoder: nn.Module
    data_state: dict[str, Any] | None

    @property
    def network(self) -> nn.Module:
        """The network."""
        return self.module.network

    @property
    def spec(self) -> FeatureSpec:
        """Specification of the data it was trained on."""
        return self.module.spec


@dataclass(frozen=True)
class LoadedRun:
    """A run with its network at the best epoch and its data.

    Attributes:
        folder: folder of the run.
        config: its configuration in plain types.
        module: network, objective and monitored loss; the network in evaluation mode.
        data: its data module, set up, with the training split's statistics.
    """

    folder: RunFolder
    config: dict[str, Any]
    module: MultimodalModule
    data: FeatureDataModule

    @property
    def network(self) -> nn.Module:
        """The network."""
        return self.module.network


def load_network(path: str | Path) -> LoadedNetwork:
    """Return the network of a run, rebuilt from its record; the data is not needed.

    Args:
        path: the run folder.

    Raises:
        RunError: the folder holds no run, or the checkpoint is missing or does not fit the run's configuration.
    """
    folder = RunFolder(Path(path))
    config = folder.config(rebuild=True)
    file = folder.best_checkpoint
    if not file.exists():
        raise RunError(f"{file}: missing: the run has not finished an epoch; continue it with `dhmd train resume={folder.path}`")
    try:
        checkpoint = upgraded_checkpoint(torch.load(file, weights_only=True, map_location="cpu"))
        spec, weights = FeatureSpec(**checkpoint["spec"]), checkpoint["state_dict"]
    except Exception as error:  # torch has no class for the error of a damaged file
        raise RunError(f"{file}: not readable as a checkpoint of dhmd: {type(error).__name__}: {error}") from error
    with quiet():
        text_encoder = instantiate(config["text_encoder"], "text_encoder")
        module = build_module(config, text_encoder, spec)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(f"{file}: does not fit the run's config.yaml: {error}") from error
    module.network.eval()
    return LoadedNetwork(folder, config, module, text_encoder, checkpoint.get("FeatureDataModule"))


def load_run(path: str | Path, data_path: str | Path | None = None) -> LoadedRun:
    """Return network and data of a run, rebuilt from its record.

    Args:
        path: the run folder.
        data_path: another data file of the same kind; None for the run's own.

    Raises:
        RunError: the folder holds no run, the checkpoint is missing, or the data does not fit the network.
        DataError: the data is missing or wrong.
    """
    trained = load_network(path)
    # the given file replaces the run's data: a published file, or the embedded corpus
    changes: dict[str, Any] = {} if data_path is None else {"path": str(data_path), "synthetic": None, "expects": None}
    given = trained.config["data"]
    if changes and given.get("synthetic") and not given["modalities"] and trained.spec.modalities != MODALITIES:
        changes["modalities"] = list(trained.spec.modalities)  # named by the options of the corpus, and unknown from a file
    with quiet():
        data = build_data(trained.config, trained.text_encoder, state=trained.data_state, **changes)
    _check_fit(trained, data.spec)
    encode_once(data, trained.text_encoder, trained.module.network)
    return LoadedRun(trained.folder, trained.config, trained.module, data)


def usable_device(name: str) -> torch.device:
    """Return the device of a name of torch: cpu, cuda, cuda:1.

    Raises:
        UsageError: there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device


def _check_fit(trained: LoadedNetwork, found: FeatureSpec) -> None:
    """Check that the network can read the data: modalities, widths and labels must agree, and lengths unless it pools."""
    expected = trained.spec
    read_from_tokens = (LANGUAGE,) if trained.text_encoder.needs_tokens else ()  # unused, whatever language features there are
    for name in ("modalities", "dims", "task", "n_classes"):
        before, now = (_plain(getattr(spec, name), read_from_tokens) for spec in (expected, found))
        if before != now:
            raise RunError(f"{trained.folder.path}: the run was trained on data with {name} {before}, the data given has {now}")


def _plain(value: Any, without: tuple[str, ...]) -> Any:
    return {k: v for k, v in value.items() if k not in without} if isinstance(value, Mapping) else value
