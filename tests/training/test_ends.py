"""End of training and length of an epoch: by steps, by time, by a limit of batches."""

import pytest
import torch
from pytorch_lightning.callbacks import Timer
from test_steps import history

from dhmd.training.build import whole_split
from dhmd.training.callbacks import Recorder
from dhmd.training.inference import predict_split
from dhmd.training.load import load_run
from dhmd.training.train import train

pytestmark = pytest.mark.usefixtures("no_figures")

ONE_BATCH_A_STEP = ("optimisation.accumulation.batches=1", "trainer.max_epochs=4")  # six batches, and steps, an epoch


@pytest.fixture
def a_second_a_batch(monkeypatch):
    """A clock on which training a batch takes a second, and nothing else any time."""
    clock = {"seconds": 0.0}

    def tick(self, trainer, pl_module, batch, batch_idx):
        clock["seconds"] += 1

    monkeypatch.setattr(Recorder, "on_train_batch_start", tick)
    monkeypatch.setattr(Timer, "time_elapsed", lambda self, stage="train": clock["seconds"])


def last(run_dir):
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)


def validation_loss(run_dir, weights):
    run = load_run(run_dir)
    run.module.load_state_dict(weights)
    module, ids = run.module, run.data.ids("valid")
    return predict_split(
        module.network, whole_split(run.data, "valid"), ids, module.objective.task, module.optimisation.validation_loss
    ).loss


def test_the_row_of_an_epoch_cut_by_max_steps_is_of_the_weights_at_that_step(tiny, tmp_path):
    options = (*ONE_BATCH_A_STEP, "trainer.max_steps=8")
    run_dir = train(tiny(tmp_path / "run", *options)).run_dir
    rows, checkpoint = history(run_dir), last(run_dir)
    assert (len(rows), checkpoint["global_step"]) == (2, 8)
    assert float(rows[1]["validation/loss"]) == pytest.approx(validation_loss(run_dir, checkpoint["state_dict"]), rel=1e-5)
    whole = history(train(tiny(tmp_path / "whole", *ONE_BATCH_A_STEP)).run_dir)
    assert rows[0] == whole[0]
    assert rows[1]["validation/loss"] != whole[1]["validation/loss"]
    assert rows[1]["train/total"] != whole[1]["train/total"]  # the mean over two batches


def test_time_that_is_up_ends_the_epoch_as_max_steps_does(tiny, tmp_path, a_second_a_batch):
    timed = train(tiny(tmp_path / "timed", *ONE_BATCH_A_STEP, "trainer.max_time=00:00:00:08")).run_dir
    counted = train(tiny(tmp_path / "counted", *ONE_BATCH_A_STEP, "trainer.max_steps=8")).run_dir
    assert (timed / "DONE").exists()
    assert last(timed)["global_step"] == 8
    for file in ("history.csv", "predictions.csv"):
        assert (timed / file).read_bytes() == (counted / file).read_bytes()


def test_the_first_epoch_is_whole_however_little_time_there_is(tiny, tmp_path, a_second_a_batch):
    run_dir = train(tiny(tmp_path / "run", *ONE_BATCH_A_STEP, "trainer.max_time=00:00:00:02")).run_dir
    assert len(history(run_dir)) == 1
    assert last(run_dir)["global_step"] == 6


@pytest.mark.parametrize(("limit", "batches"), [("2", 2), ("0.5", 3)])
def test_a_limit_of_batches_ends_an_epoch_and_its_window(limit, batches, tiny, tmp_path):
    """The window of four is closed by the end of the epoch; the schedule knows how many steps there will be."""
    options = [
        f"+trainer.limit_train_batches={limit}",
        "trainer.max_epochs=2",
        "optimisation.accumulation.batches=4",
        "optimisation/scheduler=warmup_linear",
        "optimisation.scheduler.warmup=0",
        "optimisation.interval=step",
    ]
    trained = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "on_train_batch_start", lambda self, t, m, batch, i: trained.append(batch.index.tolist()))
        run_dir = train(tiny(tmp_path / "run", *options)).run_dir
    assert len(trained) == 2 * batches
    assert trained[:batches] != trained[batches:]  # an epoch has an order of its own
    assert last(run_dir)["global_step"] == 2
    assert [float(row["lr"]) for row in history(run_dir)] == pytest.approx([0.5e-3, 0.0])
