"""Evaluation of a finished run from its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dhmd.batch import Task
from dhmd.errors import RunError, UsageError
from dhmd.runs.folder import RunFolder
from dhmd.training.build import whole_split
from dhmd.training.inference import Predictions, predict_split
from dhmd.training.load import load_run, usable_device


@dataclass(frozen=True)
class Evaluation:
    """Metrics of a split of a run, the arrays they were computed from, and whether the data is synthetic."""

    metrics: dict[str, float]
    predictions: Predictions
    convention: str
    synthetic: bool
    task: Task


def evaluate(
    path: str | Path, split: Literal["valid", "test"] = "test", data_path: str | Path | None = None, device: str = "cpu"
) -> Evaluation:
    """Evaluate the best epoch of a run.

    Args:
        path: the run folder.
        split: name of the split.
        data_path: another data file of the same kind; None for the run's own.
        device: device to compute on, as torch names it.

    Raises:
        RunError: the folder holds no run, its test split is requested before training has ended, or the data does not fit it.
        DataError: the data is missing or wrong.
        UsageError: the split or the device is unknown.
    """
    if split not in ("valid", "test"):
        raise UsageError(f"split: found {split!r}, expected valid or test")
    folder = RunFolder(Path(path))
    if split == "test" and data_path is None and folder.started and not folder.finished and not folder.imported:
        raise RunError(
            f"{path}: the run has not finished, and its test split is read once, when training is over; "
            f"use --split valid, or continue it with `dhmd train resume={path}`"
        )
    where = usable_device(device)
    run = load_run(path, data_path)
    task, convention = run.module.spec.task, run.config["convention"]
    module, batches, ids = run.module, whole_split(run.data, split), run.data.ids(split)
    found = predict_split(run.network, batches, ids, module.objective.task, module.optimisation.validation_loss, where)
    return Evaluation(found.metrics(task, convention), found, convention, run.data.synthetic, task)
