"""No test of this folder reaches a network or is led by W&B's variables of the one who runs it."""

import os

import pytest
import wandb


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    _end_service()  # W&B reads its variables once, when its service starts
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    yield
    _end_service()


def _end_service():
    wandb.teardown()
    os.environ.pop("WANDB_SERVICE", None)  # the address of the service that has ended
