"""What a person sees while a run trains where no progress bar can be drawn: a line an epoch, with the time left at most."""

from __future__ import annotations

import logging
import time

import pytorch_lightning as pl

from dhmd.training.checkpoints import Checkpoints
from dhmd.training.module import MONITOR, MultimodalModule

log = logging.getLogger(__name__)


class EpochLine(pl.Callback):
    """Logs one line after every epoch."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the epoch that validation has just seen."""
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
