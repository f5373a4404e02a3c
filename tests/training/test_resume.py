"""A run that is stopped and continued leaves the record of one that was not, bit for bit."""

import csv

import pytest

from dhmd.errors import RunError, UsageError
from dhmd.training.train import train
from resuming import assert_same_record

pytestmark = pytest.mark.usefixtures("no_figures")

# dropout is on (the model's defaults), train is shuffled; 24 clips in batches of 4 are 6 batches an epoch
FOUR_A_STEP = ["trainer.max_epochs=3", "optimisation.accumulation.batches=4"]


def test_stop_between_epochs(stopped_and_resumed):
    assert_same_record(*stopped_and_resumed("trainer.max_epochs=3", epoch=2, batch=0))


@pytest.mark.parametrize(
    ("kind", "batch"),  # before batch 2 and 3: inside the first window of four; before 5: inside the tail
    [
        ("MeanAccumulation", 2),
        ("SumAccumulation", 5),
        pytest.param("MeanAccumulation", 5, marks=pytest.mark.slow),
        pytest.param("SumAccumulation", 3, marks=pytest.mark.slow),
    ],
)
def test_stop_inside_an_accumulation_window(stopped_and_resumed, kind, batch):
    target = f"optimisation.accumulation._target_=dhmd.training.accumulation.{kind}"
    assert_same_record(*stopped_and_resumed(*FOUR_A_STEP, target, epoch=1, batch=batch))


@pytest.mark.slow
def test_stop_after_a_fall_of_the_learning_rate(stopped_and_resumed):
    # steps so small that the loss falls by less than the schedule's threshold, and no patience: the rate falls every epoch
    options = [
        "trainer.max_epochs=5",
        "optimisation.lr=1.0e-6",
        "optimisation.group_lr.dictionaries=null",
        "optimisation.scheduler.patience=0",
    ]
    whole, cut = stopped_and_resumed(*options, epoch=4, batch=3)
    with (whole / "history.csv").open() as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file)]
    assert rates[3] < rates[0], "the case is not tested: the rate has not fallen before the stop"
    assert_same_record(whole, cut)


@pytest.mark.slow
def test_stop_with_the_authors_loop(stopped_and_resumed):
    assert_same_record(*stopped_and_resumed(*FOUR_A_STEP, epoch=1, batch=3, model="dmd_authors"))


def test_two_runs_of_one_seed_are_the_same_and_another_seed_is_not(tiny, tmp_path):
    one, two, other = (train(tiny(tmp_path / str(i), f"seed={seed}")).run_dir for i, seed in enumerate((5, 5, 6)))
    assert_same_record(one, two)
    assert (one / "predictions.csv").read_bytes() != (other / "predictions.csv").read_bytes()


def test_longer_training_continues_a_shorter_one(tiny, tmp_path):
    train(tiny(tmp_path / "grown", "trainer.max_epochs=1"))
    (tmp_path / "grown" / "DONE").unlink()
    grown = train(tiny(tmp_path / "grown", "trainer.max_epochs=3", "resume=true")).run_dir
    assert_same_record(train(tiny(tmp_path / "whole", "trainer.max_epochs=3")).run_dir, grown)


def test_an_early_stop_is_final(tiny, tmp_path):
    # steps too small to gain anything
    rates = ["optimisation.lr=1.0e-12", "optimisation.group_lr.dictionaries=null"]
    options = ["trainer.max_epochs=6", "callbacks.early_stopping.patience=1", *rates]
    stopped = train(tiny(tmp_path, *options))
    epochs = len(stopped.metrics["validation"])
    assert epochs < 6
    before = (tmp_path / "predictions.csv").read_bytes()
    (tmp_path / "DONE").unlink()  # as if it had died while the record was written
    again = train(tiny(tmp_path, *options, "resume=true"))
    assert len(again.metrics["validation"]) == epochs
    assert (tmp_path / "predictions.csv").read_bytes() == before


def test_a_finished_run_is_not_trained_again(tiny, finished):
    before = (finished / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    result = train(tiny(finished, "trainer.max_epochs=3", "resume=true"))
    assert result.metrics["selection"]["monitor"] == "validation/loss"
    assert (finished / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before


def test_a_taken_folder_is_refused(tiny, finished):
    with pytest.raises(UsageError, match=r"a run is already there and finished.*resume=true"):
        train(tiny(finished))


def test_another_configuration_cannot_be_resumed(tiny, finished):
    with pytest.raises(RunError, match=r"optimisation\.lr \(recorded 0\.001, now 0\.5\)"):
        train(tiny(finished, "optimisation.lr=0.5", "resume=true"))


def test_two_processes_do_not_train_in_one_folder(tiny, tmp_path):
    fcntl = pytest.importorskip("fcntl", reason="this platform has no such locks")
    with (tmp_path / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process"):
            train(tiny(tmp_path))


def test_resuming_without_a_run_starts_one(tiny, tmp_path):
    assert train(tiny(tmp_path / "new", "resume=true", "trainer.max_epochs=1")).run_dir.joinpath("DONE").exists()


def test_a_refused_configuration_leaves_no_run(tiny, tmp_path):
    with pytest.raises(UsageError, match=r"model\.heads"):
        train(tiny(tmp_path, "model.heads=3"))
    assert not (tmp_path / "config.yaml").exists()
    assert train(tiny(tmp_path, "trainer.max_epochs=1")).run_dir == tmp_path
