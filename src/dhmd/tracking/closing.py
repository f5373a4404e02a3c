"""Closing of a W&B run together with its training, however that ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pytorch_lightning.loggers import Logger, WandbLogger


@contextmanager
def closing_wandb(loggers: Sequence[Logger]) -> Iterator[None]:
    """Finish the W&B runs that these loggers have begun, as finished or as failed."""
    status = 1
    try:
        yield
        status = 0
    finally:
        for logger in loggers:
            # reading `experiment` would begin a run
            if isinstance(logger, WandbLogger) and (begun := logger._experiment) is not None:
                begun.finish(exit_code=status)
