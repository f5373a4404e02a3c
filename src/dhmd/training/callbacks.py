"""Callbacks that keep the run folder up to date during training, and log a line an epoch if there is no progress bar."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytorch_lightning as pl

from dhmd.runs.folder import RunFolder
from dhmd.training.checkpoints import Checkpoints
from dhmd.training.module import MONITOR, MultimodalModule


class Recorder(pl.Callback):
    """Callback that writes the history after every epoch and measures the time.

    Attributes:
        seconds: seconds spent, by activity; summed over resumptions.
    """

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.seconds = {"fit": 0.0}
        self._since: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the history up to the last epoch."""
        self._write(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the whole history."""
        self._write(trainer, pl_module)
        self._tick()
        self._since = None

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds spent so far."""
        self._tick()
        return {"seconds": self.seconds["fit"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds spent before the run was resumed."""
        self.seconds["fit"] = state_dict["seconds"]

    def _tick(self) -> None:
        if self._since is not None:
            now = time.monotonic()
            self.seconds["fit"] += now - self._since
            self._since = now

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and isinstance(pl_module, MultimodalModule):
            self.folder.write_history(pl_module.history)


log = logging.getLogger(__name__)


class EpochLine(pl.Callback):
    """Callback that logs one line after every epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch that has just been validated."""
        if not trainer.is_global_zero:
            return
        seconds = time.monotonic() - getattr(self, "_start", time.monotonic())
        log.info("epoch %d  %s", trainer.current_epoch, self._describe(trainer, pl_module, seconds))

    @staticmethod
    def _describe(trainer: pl.Trainer, pl_module: pl.LightningModule, seconds: float) -> str:
        found = dict(trainer.callback_metrics)
        parts = [f"validation loss {float(found[MONITOR]):.4f}"] if MONITOR in found else []
        best = next((c for c in trainer.callbacks if isinstance(c, Checkpoints)), None)  # type: ignore[attr-defined]
        if best is not None and best.best_value is not None:
            parts.append(f"best before {best.best_value:.4f} in epoch {best.best_epoch}")
        parts.append(f"{seconds:.1f} s")
        limit = trainer.max_epochs
        if limit is not None and limit > 0:
            left = (limit - trainer.current_epoch - 1) * seconds
            parts.append(f"at most {_minutes(left)} left" if left else "the last of them")
        assert isinstance(pl_module, MultimodalModule)  # noqa: S101
        return "  ".join(parts)


def _minutes(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 5400 else f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
