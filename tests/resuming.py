"""Fixtures: a run that dies in its middle and is continued, beside one that was not interrupted."""

import pytest
import torch

from dhmd.training.callbacks import Recorder
from dhmd.training.train import train


class Stop(Exception):
    """The power goes."""


@pytest.fixture
def stop_at(monkeypatch):
    """Let training die before a batch of an epoch."""

    def arm(epoch, batch):
        def on_train_batch_start(self, trainer, module, found, index):
            if (trainer.current_epoch, index) == (epoch, batch):
                raise Stop

        monkeypatch.setattr(Recorder, "on_train_batch_start", on_train_batch_start)

    return arm


@pytest.fixture
def resumed(tiny, stop_at):
    """Train until a batch of an epoch, then continue to the end; return the run folder."""

    def run(folder, *overrides, epoch, batch, model="dhmd"):
        overrides = (*overrides, "callbacks.checkpoints.every_n_batches=1")
        stop_at(epoch, batch)
        with pytest.raises(Stop):
            train(tiny(folder, *overrides, model=model))
        assert not (folder / "DONE").exists()
        stop_at(-1, -1)
        return train(tiny(folder, *overrides, "resume=true", model=model)).run_dir

    return run


@pytest.fixture
def stopped_and_resumed(tiny, tmp_path, resumed):
    def run(*overrides, epoch, batch, model="dhmd"):
        whole = train(tiny(tmp_path / "whole", *overrides, model=model)).run_dir
        return whole, resumed(tmp_path / "cut", *overrides, epoch=epoch, batch=batch, model=model)

    return run


def assert_same_record(whole, cut):
    for name in ("history.csv", "predictions.csv", "data.json"):
        assert (whole / name).read_bytes() == (cut / name).read_bytes(), name
    for name in ("best.ckpt", "last.ckpt"):
        assert_same_training(*(torch.load(folder / "checkpoints" / name, weights_only=True) for folder in (whole, cut)))


def assert_same_training(a, b):
    """Compare what two checkpoints hold of training, bit for bit."""
    for key in ("epoch", "global_step", "state_dict", "optimizer_states", "lr_schedulers", "training"):
        assert_equal(a[key], b[key], key)


def assert_equal(a, b, name=""):
    if isinstance(a, torch.Tensor):
        assert a.shape == b.shape, name
        assert torch.equal(a.isnan(), b.isnan()), name
        assert torch.equal(a.nan_to_num(), b.nan_to_num()), name
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), name
        for key in a:
            assert_equal(a[key], b[key], f"{name}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), name
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_equal(x, y, f"{name}[{i}]")
    else:
        assert a == b or (a != a and b != b), name
