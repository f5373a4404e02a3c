"""Results sent to loggers when a run has ended: its test metrics and, if they can show them, its figures and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from dhmd.runs.folder import RunFolder
from dhmd.runs.identity import flattened
from dhmd.runs.reader import read_run
from dhmd.tracking.tables import run_tables

STEP = "trainer/global_step"
"""Name of Lightning's step in W&B, the x axis of every history."""


def log_outcome(run_dir: Path, loggers: Sequence[Logger], step: int) -> None:
    """Log the results of a finished run's folder. Other loggers than W&B and TensorBoard get a few numbers, and nothing heavy is read.

    A run whose test split was not read has only the summary.

    Args:
        run_dir: a finished run.
        loggers: loggers of the trainer.
        step: number of the last step.

    Raises:
        RunError: the record is damaged.
    """
    if not loggers:
        return
    test = {f"test/{name}": value for name, value in read_run(run_dir, tested=False).test.items()}
    for logger in loggers:
        if test:
            logger.log_metrics(test, step=step)
        if isinstance(logger, WandbLogger):
            _wandb(run_dir, logger.experiment, step)
        elif isinstance(logger, TensorBoardLogger):
            _tensorboard(run_dir, logger.experiment, step)
        logger.save()


def summary(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics.json as one level of ``path/name``; ``validation/`` belongs to the chosen epoch, the one that was tested."""
    content = {key: value for key, value in metrics.items() if key not in ("schema", "validation")}
    chosen = [row for row in metrics["validation"] if row["epoch"] == metrics["selection"]["epoch"]]
    if chosen:
        content["validation"] = {name: value for name, value in chosen[0].items() if name != "epoch"}
    return flattened(content, "/")


def _wandb(run_dir: Path, experiment: Any, step: int) -> None:
    import wandb

    run = read_run(run_dir, tested=False)
    shown: dict[str, Any] = {f"figures/{png.stem}": wandb.Image(str(png)) for png in _figures(run_dir)}
    for name, rows in (run_tables(run.record(), run.metrics["task"]) if run.test else {}).items():
        shown[f"tables/{name}"] = wandb.Table(columns=list(rows[0]), data=[list(row.values()) for row in rows])
    if shown:
        experiment.log({**shown, STEP: step})
    experiment.summary.update(summary(run.metrics))


def _tensorboard(run_dir: Path, experiment: Any, step: int) -> None:
    import matplotlib.image

    for png in _figures(run_dir):
        experiment.add_image(f"figures/{png.stem}", matplotlib.image.imread(png)[..., :3], step, dataformats="HWC")


def _figures(run_dir: Path) -> list[Path]:
    return sorted(RunFolder(run_dir).figures.glob("*.png"))
