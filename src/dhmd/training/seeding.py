"""Randomness as a function of the seed and the position in training, so that a resumed run needs no saved generator states."""

from __future__ import annotations

import random

import numpy as np
import torch


def seed_batch(seed: int, epoch: int, batch: int, rank: int = 0) -> None:
    """Seed python, numpy and torch (all devices) for one training batch.

    Dropout of batch b in epoch e is then the same whether or not the run was resumed, and whatever validation, logging or the creation
    of iterators drew before.
    """
    words = np.random.SeedSequence([seed, epoch, batch, rank]).generate_state(4, dtype=np.uint32)
    torch.manual_seed(int(words[0]) << 32 | int(words[1]))
    np.random.seed(words[2])
    random.seed(int(words[3]))
