"""No test of this folder reaches a network or is led by W&B's variables of the one who runs it."""

import os

import pytest


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
