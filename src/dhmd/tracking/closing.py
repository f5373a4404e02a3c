"""A W&B run ends with the training it belongs to, however that ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pytorch_lightning.loggers import Logger, WandbLogger


@contextmanager
def closing_wandb(loggers: Sequence[Logger]) -> Iterator[None]:
    """Finish what these have begun in W&B, as finished or as failed."""
    status = 1
    try:
        yield
        status = 0
    finally:
        for logger in loggers:
            # asking for `experiment` would begin one
            if isinstance(logger, WandbLogger) and (begun := logger._experiment) is not None:
                begun.finish(exit_code=status)
