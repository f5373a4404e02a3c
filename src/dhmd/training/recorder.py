"""The callback that keeps the run folder up to date while a run trains."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl

from dhmd.runs.folder import RunFolder
from dhmd.training.module import MultimodalModule


class Recorder(pl.Callback):
    """Writes the history after every epoch and counts the time.

    Attributes:
        seconds: time spent, by occupation; counted on over resumptions.
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
        """Seconds spent so far."""
        self._tick()
        return {"seconds": self.seconds["fit"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Seconds spent before the run was resumed."""
        self.seconds["fit"] = state_dict["seconds"]

    def _tick(self) -> None:
        if self._since is not None:
            now = time.monotonic()
            self.seconds["fit"] += now - self._since
            self._since = now

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.is_global_zero and isinstance(pl_module, MultimodalModule):
            self.folder.write_history(pl_module.history)
