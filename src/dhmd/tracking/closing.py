"""A W&B run ends with the training it belongs to, however that ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def closing_wandb() -> Iterator[None]:
    """Finish the W&B run that was begun inside, if there is one, as finished or as failed."""
    status = 1
    try:
        yield
        status = 0
    finally:
        wandb = sys.modules.get("wandb")  # not imported: no run
        if wandb is not None and getattr(wandb, "run", None) is not None:
            wandb.finish(exit_code=status)
