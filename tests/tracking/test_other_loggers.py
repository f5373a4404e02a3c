"""TensorBoard and CSV hold the numbers of the record; TensorBoard shows the figures, too. (W&B: test_wandb_runs.)"""

import importlib
import json

import pytest
from matplotlib.figure import Figure

from dhmd.runs.reader import read_table
from dhmd.training.train import train

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="the extra tensorboard, part of dev")


def one_figure(run_dir):
    (run_dir / "figures").mkdir()
    Figure(figsize=(0.3, 0.2)).savefig(run_dir / "figures" / "metrics.png", dpi=100)


@pytest.fixture(scope="module")
def run_dir(tiny, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("dhmd.training.train"), "write_figures", one_figure)
        loggers = ["logger=[csv,tensorboard]"]
        return train(tiny(tmp_path_factory.mktemp("tb") / "run", *loggers)).run_dir


@pytest.fixture(scope="module")
def recorded(run_dir):
    return json.loads((run_dir / "metrics.json").read_text())


def test_tensorboard_has_epochs_test_and_figures(run_dir, recorded):
    events = accumulator.EventAccumulator(str(run_dir / "tensorboard" / "version_0"))
    events.Reload()

    def values(name):
        return [event.value for event in events.Scalars(name)]

    for name in ("loss", "mae", "corr"):
        assert values(f"validation/{name}") == pytest.approx([row[name] for row in recorded["validation"]])
    assert len(values("train/total")) == len(recorded["validation"])
    for name, value in recorded["test"].items():
        assert values(f"test/{name}") == pytest.approx([value])
    (image,) = events.Images("figures/metrics")
    assert (image.width, image.height) == (30, 20)


def test_csv_has_epochs_and_test(run_dir, recorded):
    columns = read_table(run_dir / "csv" / "version_0" / "metrics.csv")
    for name in ("loss", "mae", "corr"):
        assert [float(v) for v in columns[f"validation/{name}"] if v] == pytest.approx([row[name] for row in recorded["validation"]])
    for name, value in recorded["test"].items():
        assert [float(v) for v in columns[f"test/{name}"] if v] == pytest.approx([value])
