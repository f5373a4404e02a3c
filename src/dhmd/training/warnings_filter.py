"""What libraries say while a run trains that helps nobody who reads it, each with the reason."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

GREETING = ("utilities.rank_zero", "trainer.connectors.checkpoint_connector")
IGNORED = (
    r"The .*dataloader.* does not have many workers",  # the store is read faster without (docs of dhmd.data)
    r"Found \d+ module\(s\) in eval mode at the start of training",  # a frozen text encoder is meant to be
    r"Trying to infer the `batch_size`",  # a FeatureBatch knows its own; it is given where it matters
    r"Experiment logs directory .* exists and is not empty",  # resuming
    r"It is recommended to use `self.log",  # what is logged is a total over processes already
    r"You requested to overfit but enabled",  # debug=overfit means to
    r"Checkpoint directory .* exists and is not empty",  # resuming
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # inside Lightning
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's greetings and the warnings in `IGNORED`; all others stay."""
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
