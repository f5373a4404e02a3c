"""Training of one run, from its configuration to its record."""

from __future__ import annotations

import logging
import pickle
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig
from pytorch_lightning.callbacks import EarlyStopping, ProgressBar

from dhmd.analysis.figures import write_figures
from dhmd.config import instantiate, to_plain
from dhmd.data.module import FeatureDataModule
from dhmd.errors import RunError, UsageError
from dhmd.runs.arrays import Record
from dhmd.runs.folder import RunFolder
from dhmd.runs.reader import read_run
from dhmd.runs.upgrade import refuse_old_keys, upgraded_checkpoint
from dhmd.tracking.closing import closing_wandb
from dhmd.tracking.identity import wandb_identity
from dhmd.tracking.outcome import log_outcome
from dhmd.training.allocator import freed_memory_kept
from dhmd.training.build import build_data, build_module, encode_once, whole_split
from dhmd.training.callbacks import Recorder
from dhmd.training.checkpoints import Checkpoints, UpgradingCheckpointIO
from dhmd.training.inference import Predictions, predict_split
from dhmd.training.module import MONITOR, MultimodalModule
from dhmd.training.warnings_filter import quiet

log = logging.getLogger(__name__)
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed", "32", 32)
"""Precisions of training; parameters are always float32, because features and records are float32."""
TRAINER_REFUSED = {
    "accumulate_grad_batches": "optimisation.accumulation.batches says how many micro-batches make a step",
    "gradient_clip_val": "optimisation.accumulation.clip_value or clip_norm clips gradients",
    "gradient_clip_algorithm": "optimisation.accumulation.clip_value clips gradients by value, clip_norm by norm",
    "check_val_every_n_epoch": "every epoch is validated: the learning rate and the choice of the epoch look at it",
    "val_check_interval": "every epoch is validated once, at its end",
}
"""Options of Lightning's Trainer that are not supported, and their replacements."""


@dataclass(frozen=True)
class TrainResult:
    """Result of training.

    Attributes:
        run_dir: the run folder.
        metrics: the content of its metrics.json.
        main: False in the helper processes of a distributed training, whose result holds only the selection.
    """

    run_dir: Path
    metrics: dict[str, Any]
    main: bool = True

    @property
    def score(self) -> float:
        """Validation loss of the best epoch, the objective of a search over hyper-parameters."""
        return float(self.metrics["selection"]["value"])


def train(cfg: DictConfig) -> TrainResult:
    """Train, select the epoch on validation, read the test split once (``evaluate_test=false``: never), and write the record.

    Args:
        cfg: configuration composed by Hydra or `dhmd.config.compose` from conf/train.yaml.

    Raises:
        UsageError: the configuration is wrong, or the run folder is in use by another run.
        DataError: the data is missing or wrong.
        RunError: the run cannot be resumed, or training diverged.
    """
    config = to_plain(cfg)
    folder = RunFolder(Path(config["run_dir"]))
    try:
        config = validated(config)
    except UsageError:
        folder.vanish()
        raise
    main = getattr(rank_zero_only, "rank", 0) == 0  # of several processes that train together, one writes
    with folder.claimed(config, resume=bool(config["resume"])) if main else nullcontext():
        if folder.finished:
            log.info("%s: finished before", folder.path)
            return TrainResult(folder.path, dict(read_run(folder.path, tested=False).metrics))
        with _log_file(folder.log_file) if main else nullcontext(), quiet():
            return _train(config, folder)


def _train(config: dict[str, Any], folder: RunFolder) -> TrainResult:
    log.info("run folder %s", folder.path)
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    text_encoder = instantiate(config["text_encoder"], "text_encoder")
    data = build_data(config, text_encoder)
    if data.synthetic:
        log.info("the data is synthetic: its numbers say nothing about people")
    module = build_module(config, text_encoder, data.spec)
    data.train_by(module.step.stages, module.network.smallest_batch)
    encode_once(data, text_encoder, module.network)
    parameters = sum(p.numel() for p in module.network.parameters() if p.requires_grad)
    log.info("%s on %s: %s trained parameters", config["labels"]["model"], config["labels"]["data"], f"{parameters:,}")

    recorder = Recorder(folder)
    trainer = _trainer(config, folder, recorder, module.step.stages)
    for optimizer in module.step.optimizers(module.network, module.objective, module.optimisation):
        module.optimisation.scheduler(optimizer, lambda: sys.maxsize)  # what they refuse is said before the run begins
    if trainer.is_global_zero:
        folder.begin(config, data.description())
    last = folder.last_checkpoint
    resumed = last.exists()
    if resumed:
        _readable(last, resume=True)
    with freed_memory_kept(), closing_wandb(trainer.loggers):
        try:
            trainer.fit(module, datamodule=data, ckpt_path=last if resumed else None, weights_only=True)
        except SystemExit as end:  # Lightning's reaction to Ctrl-C
            raise KeyboardInterrupt from end
        except MisconfigurationException as error:
            raise UsageError(f"trainer: {error}") from error
        if not trainer.is_global_zero:
            return TrainResult(folder.path, {"selection": {"value": float("nan")}}, main=False)
        metrics = _finish(config, folder, data, module, trainer, recorder, parameters)
        log_outcome(folder.path, trainer.loggers, trainer.global_step)
    return TrainResult(folder.path, metrics)


def _finish(
    config: dict[str, Any],
    folder: RunFolder,
    data: FeatureDataModule,
    module: MultimodalModule,
    trainer: pl.Trainer,
    recorder: Recorder,
    parameters: int,
) -> dict[str, Any]:
    """Load the best epoch, validate once more, evaluate the test split (if at all) for the first and only time, and return the results."""
    checkpoints = next(c for c in trainer.callbacks if isinstance(c, Checkpoints))  # type: ignore[attr-defined]
    best = _readable(folder.best_checkpoint)
    module.load_state_dict(best["state_dict"])
    device, loss, task = trainer.strategy.root_device, module.optimisation.validation_loss, module.spec.task
    found, tested = {}, config["evaluate_test"]
    for split in ("valid", "test") if tested else ("valid",):
        start = time.monotonic()
        found[split] = predict_split(module.network, whole_split(data, split), data.ids(split), module.objective.task, loss, device)
        recorder.seconds[split] = time.monotonic() - start

    numbers = {split: one.metrics(task, config["convention"]) for split, one in found.items()}
    metrics = {
        "task": task,
        "convention": config["convention"],
        "seed": config["seed"],
        **config["labels"],
        "synthetic": data.synthetic,
        "parameters": parameters,
        "selection": {"monitor": MONITOR, "epoch": checkpoints.best_epoch, "value": checkpoints.best_value},
        "validation": [
            {"epoch": int(row["epoch"]), **{name: row[f"validation/{name}"] for name in numbers["valid"]}} for row in module.history
        ],
        **({"test": numbers["test"]} if tested else {}),
        "seconds": recorder.seconds,
    }
    folder.write_predictions({split: {"id": one.ids, "label": one.label, **one.heads} for split, one in found.items()})
    if tested:
        folder.write_arrays(_record(found["test"], module), module.by_class.arrays())
    folder.write_metrics(metrics)
    if tested:
        write_figures(folder.path)
    folder.finish()
    return dict(read_run(folder.path, tested=False).metrics)


def _record(test: Predictions, module: MultimodalModule) -> Record:
    """Return the arrays of the test split, with the edges of every epoch."""
    edges = {
        space: replace(one, validation=np.asarray(module.edges[space], dtype=np.float64)) if one.weights is not None else one
        for space, one in test.edges.items()
    }
    return Record(tuple(test.ids), test.label, test.prediction, edges, test.activations, test.embeddings)


def _readable(path: Path, resume: bool = False) -> dict[str, Any]:
    """Return a checkpoint of the run's own.

    Raises:
        RunError: the checkpoint is missing or damaged, or training cannot continue from it.
    """
    try:
        found = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise RunError(f"{path}: missing or damaged ({str(error).splitlines()[0]}); start anew in another hydra.run.dir") from error
    try:
        return upgraded_checkpoint(found, resume=resume)
    except RunError as error:
        raise RunError(f"{path}: {error}") from error


def _trainer(config: dict[str, Any], folder: RunFolder, recorder: Recorder, stages: int) -> pl.Trainer:
    callbacks = [recorder, *_group(config, "callbacks")]
    bars = sys.stderr.isatty()
    if not bars:
        callbacks = [c for c in callbacks if not isinstance(c, ProgressBar)]
    wandb = {"wandb": wandb_identity(folder.path, config)} if (config["logger"] or {}).get("wandb") else {}
    loggers = _group(config, "logger", **wandb)
    limits = {key: config["trainer"].get(key) for key in ("limit_train_batches", "overfit_batches")}
    own: dict[str, Any] = {key: n * stages for key, n in limits.items() if isinstance(n, int)}  # a number of batches is that of a pass
    own |= {"callbacks": callbacks, "logger": loggers, "enable_progress_bar": bars, "default_root_dir": str(folder.path)}
    try:
        trainer: pl.Trainer = instantiate(config["trainer"], "trainer", **own)
    except MisconfigurationException as error:
        raise UsageError(f"trainer: {error}") from error
    trainer.strategy.checkpoint_io = UpgradingCheckpointIO()
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if sweeping() and trainer.world_size > 1 and not (environment and environment.creates_processes_externally):
        raise UsageError("trainer: a job of several processes cannot be started by this launcher; add launcher=process to the sweep")
    for callback in callbacks:
        if isinstance(callback, EarlyStopping) and not callback.monitor.startswith("validation/"):
            raise UsageError(f"callbacks.early_stopping.monitor: found {callback.monitor!r}, expected a number of validation, as {MONITOR}")
    if not any(isinstance(c, Checkpoints) for c in callbacks):
        raise UsageError(
            "callbacks.checkpoints is missing: without it there is no best epoch; expected dhmd.training.checkpoints.Checkpoints"
        )
    return trainer


def sweeping() -> bool:
    """Return whether this process runs a job of a Hydra multirun in the process of the sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _group(config: Mapping[str, Any], name: str, **extra: dict[str, Any]) -> list[Any]:
    """Return the objects built from the entries of a group; a null entry builds nothing."""
    nodes = {key: node for key, node in (config[name] or {}).items() if node}
    return [instantiate(node, f"{name}.{key}", **extra.get(key, {})) for key, node in nodes.items()]


def validated(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with an absolute data path, so that its run can be evaluated from any folder.

    Raises:
        UsageError: the configuration has an error that is visible without the data.
    """
    config = refuse_old_keys(config)
    seed = config["seed"]
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise UsageError(f"seed: found {seed!r}, expected a whole number from 0 to 2**32 - 1")
    if not isinstance(config["evaluate_test"], bool):
        raise UsageError(f"evaluate_test: found {config['evaluate_test']!r}, expected true or false")
    for group in ("data", "text_encoder", "model", "objective", "optimisation", "step", "trainer", "callbacks", "labels"):
        if not isinstance(config.get(group), dict):
            raise UsageError(f"{group}: found {config.get(group)!r}, expected a choice; leave it out for the default one")
    if nameless := [key for key in ("model", "data") if not config["labels"].get(key)]:
        raise UsageError(f"labels.{nameless[0]}: nothing found, expected a name for tables")
    trainer = config["trainer"]
    if trainer.get("precision", "32-true") not in PRECISIONS:
        raise UsageError(f"trainer.precision: found {trainer['precision']!r}, expected one of {', '.join(map(str, PRECISIONS))}")
    for key, instead in TRAINER_REFUSED.items():
        if trainer.get(key) is not None:
            raise UsageError(f"trainer.{key}: not possible here; {instead}")
    for key in ("max_epochs", "limit_train_batches", "limit_val_batches"):
        if isinstance(trainer.get(key), int | float) and not trainer[key] > 0:
            raise UsageError(f"trainer.{key}: found {trainer[key]}; expected more than 0: selection needs an epoch and its validation")
    data = dict(config["data"])
    if data.get("path"):
        data["path"] = str(Path(data["path"]).expanduser().absolute())
    return {**config, "data": data}


@contextmanager
def _log_file(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
