"""Checkpoints of a run: the best epoch by validation loss, and the last state to resume from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping

from dhmd.runs.folder import BEST, LAST
from dhmd.runs.upgrade import upgraded_checkpoint
from dhmd.training.module import MONITOR


class UpgradingCheckpointIO(TorchCheckpointIO):
    """Lightning's files of checkpoints, of which those of earlier versions are loaded in today's form."""

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint of ours."""
        return upgraded_checkpoint(super().load_checkpoint(*args, **kwargs))


class Checkpoints(Checkpoint):
    """Callback that saves ``best.ckpt`` when the validation loss falls and ``last.ckpt`` after every epoch.

    Lightning's own callback saves the middle of an epoch wrongly under manual optimisation, and forgets the best value of a run whose
    folder was moved; this one keeps the value itself.

    Args:
        dirpath: folder of both files.
        every_n_batches: also save ``last.ckpt`` after every so many batches of an epoch; 0 for epochs only.
    """

    def __init__(self, dirpath: str | Path, every_n_batches: int = 0) -> None:
        super().__init__()
        if every_n_batches < 0:
            raise ValueError(f"every_n_batches: found {every_n_batches}, expected 0 or more")
        self.dirpath = Path(dirpath)
        self.every_n_batches = every_n_batches
        self.best_value: float | None = None
        self.best_epoch: int | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop a resumed run that was stopped early; Lightning would train one more epoch."""
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
                trainer.should_stop = True

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Save the middle of an epoch. Its end is saved after validation, which a resumed run would otherwise skip."""
        if self.every_n_batches and (batch_idx + 1) % self.every_n_batches == 0 and not trainer.is_last_batch:
            trainer.save_checkpoint(self.dirpath / LAST)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the epoch, after schedule and early stopping have read its loss."""
        value = float(trainer.callback_metrics[MONITOR])
        if self.best_value is None or value < self.best_value:
            self.best_value, self.best_epoch = value, trainer.current_epoch
            trainer.save_checkpoint(self.dirpath / BEST)
        trainer.save_checkpoint(self.dirpath / LAST)

    def state_dict(self) -> dict[str, Any]:
        """Return the best epoch so far."""
        return {"best_value": self.best_value, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the best epoch so far."""
        self.best_value, self.best_epoch = state_dict["best_value"], state_dict["best_epoch"]
