"""No test of this folder reaches a network or is led by W&B's variables of the one who runs it."""

import os

import pytest
import wandb


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    wandb.teardown()  # W&B reads its variables once a process
    yield
    wandb.teardown()
