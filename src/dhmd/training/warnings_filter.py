"""Filter of library warnings that help no reader of a run, each with the reason."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

GREETING = ("utilities.rank_zero", "trainer.connectors.checkpoint_connector")
IGNORED = (
    r"The .*dataloader.* does not have many workers",  # the store is read faster without workers (docs of dhmd.data)
    r"Found \d+ module\(s\) in eval mode at the start of training",  # a frozen text encoder is in evaluation mode on purpose
    r"Trying to infer the `batch_size`",  # the batch size is given explicitly in the calls that need it
    r"Experiment logs directory .* exists and is not empty",  # resuming
    r"It is recommended to use `self.log",  # logged values are totals over processes already
    r"You requested to overfit but enabled",  # debug=overfit does so on purpose
    r"Checkpoint directory .* exists and is not empty",  # resuming
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # inside Lightning
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's greetings and the warnings in `IGNORED`, but no others."""
    loggers = [logging.getLogger(f"pytorch_lightning.{name}") for name in GREETING]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in IGNORED:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
