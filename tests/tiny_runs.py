"""Fixtures: runs small enough to train in a second: a few clips of the embedded corpus, a network of width 8."""

import importlib

import pytest

from dhmd.app import compose
from dhmd.training.train import train

TINY = [
    "data=demo",
    "data.synthetic.n_train=24",
    "data.synthetic.n_valid=10",
    "data.synthetic.n_test=10",
    "data.synthetic.length=12",
    "data.batch_size=4",
    "model.width=8",
    "model.heads=2",
    "model.layers=1",
    "model.kernels=3",
    "logger=none",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "optimisation.lr=1.0e-3",
]
ANY = [option for option in TINY if not option.startswith("model.")]  # for a network that has no such sizes
DICTIONARIES = ["model.homogeneous.dictionary.entries=16", "model.heterogeneous.dictionary.entries=16"]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus")


@pytest.fixture(scope="session")
def tiny(corpus):
    """The configuration of a tiny run in a folder, with further overrides."""

    def configure(run_dir, *overrides, model="dhmd"):
        sizes = [*TINY, *(DICTIONARIES if model == "dhmd" else [])] if model.startswith(("dmd", "dhmd")) else ANY
        return compose([f"model={model}", *sizes, f"data.cache_dir={corpus}", f"run_dir={run_dir}", *overrides])

    return configure


@pytest.fixture
def no_figures(monkeypatch):
    """Figures take seconds and are tested by themselves. (The package shadows its module by the function of the same name.)"""
    monkeypatch.setattr(importlib.import_module("dhmd.training.train"), "write_figures", lambda run_dir: [])


@pytest.fixture(scope="session")
def finished(tiny, tmp_path_factory):
    """One finished run of everything, figures included, that tests only read."""
    run_dir = tmp_path_factory.mktemp("finished") / "run"
    return train(tiny(run_dir, "trainer.max_epochs=3")).run_dir
