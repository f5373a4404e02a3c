"""Every baseline of conf/model in real runs: it learns, and training that is stopped continues bit for bit."""

import pytest
import torch

from conformance import one_of_each_class
from dhmd.app import compose
from dhmd.runs.reader import read_run
from dhmd.training.load import load_run
from dhmd.training.train import train
from resuming import assert_same_record

pytestmark = pytest.mark.usefixtures("no_figures")
every = pytest.mark.parametrize("preset", one_of_each_class("dhmd.baselines"))
# 48 clips in batches of 8: samples of both signs in each, and 6 batches a pass over the training split
SIX_BATCHES = ["data.synthetic.n_train=48", "data.batch_size=8", "trainer.max_epochs=3"]


@every
def test_it_beats_the_mean_of_the_training_labels(preset, tmp_path, corpus):
    sizes = [f"data.synthetic.{key}={n}" for key, n in {"n_train": 224, "n_valid": 96, "n_test": 8, "length": 12}.items()]
    rest = [f"data.cache_dir={corpus}", f"run_dir={tmp_path}", "logger=none", "trainer.accelerator=cpu", "trainer.max_epochs=5"]
    metrics = train(compose([f"model={preset}", "data=demo", *sizes, *rest])).metrics
    data = load_run(tmp_path).data
    mean_alone = (data.labels("valid") - data.labels("train").mean()).abs().mean().item()
    assert min(epoch["mae"] for epoch in metrics["validation"]) < 0.95 * mean_alone


@pytest.mark.slow
@every
def test_it_is_resumed_in_the_middle_of_every_pass(preset, tiny, tmp_path, resumed):
    whole = train(tiny(tmp_path / "whole", *SIX_BATCHES, model=preset)).run_dir
    checkpoint = torch.load(whole / "checkpoints" / "last.ckpt", weights_only=True)
    passes = len(checkpoint["optimizer_states"])
    for part in range(passes):
        cut = resumed(tmp_path / f"cut{part}", *SIX_BATCHES, epoch=2, batch=6 * part + 3, model=preset)
        assert_same_record(whole, cut)


@pytest.mark.parametrize(("preset", "column"), [("self_mm", "train/unimodal_acoustic"), ("mmim", "train/entropy_language_vision")])
def test_what_is_resumed_has_a_state(preset, column, tiny, tmp_path):
    """The labels of Self-MM have moved by the third epoch, and MMIM has its entropy, whose memory begins with the third batch of a pass."""
    losses = read_run(train(tiny(tmp_path, *SIX_BATCHES, model=preset)).run_dir).history()[column]
    assert losses[2] != 0
