"""Predictions as runs recorded them: refused where they do not fit the run or one another."""

import numpy as np
import pytest

from dhmd.errors import RunError
from dhmd.evaluation.samples import check_same_samples, read_samples
from dhmd.runs.reader import read_run
from fabricated import make_run


@pytest.fixture
def folder(tmp_path):
    return make_run(tmp_path / "a", n=20, epochs=4, stages=())


def rewrite(folder, change):
    file = folder / "predictions.csv"
    file.write_text(change(file.read_text()))


@pytest.mark.parametrize(("task", "width"), [("regression", 1), ("binary", 1), ("multiclass", 4)])
def test_every_task_is_read_and_gives_the_runs_metrics(tmp_path, task, width):
    run = read_run(make_run(tmp_path / "a", n=20, epochs=4, stages=(), task=task))
    found = read_samples(run)
    assert found.prediction.shape == (20, width)
    for name, value in found.function(found.prediction, found.label).items():
        assert value == pytest.approx(run.test[name])


def test_videos_are_what_stands_before_the_clip(folder):
    found = read_samples(read_run(folder))
    assert found.video.tolist() == [i // 8 for i in range(20)]
    rewrite(folder, lambda text: text.replace("$_$", "-"))
    assert len(np.unique(read_samples(read_run(folder)).video)) == 20


def test_other_splits_are_left_out(folder):
    rewrite(folder, lambda text: text.replace("\ntest,", "\nvalid,x,0,0\ntest,", 1))
    assert len(read_samples(read_run(folder)).ids) == 20


def test_an_edited_prediction_is_found(folder):
    lines = (folder / "predictions.csv").read_text().splitlines()
    lines[1] = lines[1].rpartition(",")[0] + ",2.9"
    rewrite(folder, lambda _: "\n".join(lines))
    with pytest.raises(RunError, match=r"predictions.csv: .*metrics.json says"):
        read_samples(read_run(folder))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text.replace("prediction", "guess"), "expected split, id, label and prediction"),
        (lambda text: text.replace("split", "part"), "expected split, id, label and prediction"),
        (lambda text: text.replace("test,video0$_$0,", "test,video0$_$0,x"), "cannot be read"),
        (lambda text: text.replace("\ntest,", "\nvalid,"), "cannot be read"),
        (lambda text: text.splitlines()[0], "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused(folder, change, told):
    rewrite(folder, change)
    with pytest.raises(RunError, match=told):
        read_samples(read_run(folder))


def test_runs_of_other_samples_are_named(folder, tmp_path):
    same, other = (make_run(tmp_path / name, n=20, epochs=4, stages=(), seed=2) for name in ("b", "c"))
    rewrite(other, lambda text: text.replace("video0", "film0"))
    first, second, third = (read_samples(read_run(f)) for f in (folder, same, other))
    check_same_samples([first, second])
    with pytest.raises(RunError, match="of a and c differ"):
        check_same_samples([first, second, third])
