"""Run folders of the version before configurations and checkpoints changed their form: they are read, used and continued as its own.

``finished`` and ``interrupted`` (in the middle of its second epoch, and of a window of gradients) are as that version left them, and
``resumed`` is how ``interrupted`` ended when it was resumed there. They were made on a folder that is no more.
"""

import csv
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from dhmd.app import compose
from dhmd.cli import main
from dhmd.config import to_plain
from dhmd.data.synthetic.files import write_pickle
from dhmd.data.synthetic.generator import SyntheticOptions
from dhmd.runs.identity import changed_on_resuming, digest
from dhmd.runs.reader import read_run
from dhmd.training.evaluate import evaluate
from dhmd.training.load import load_network, load_run

SIZES = {"n_train": 24, "n_valid": 10, "n_test": 10, "length": 12}
OVERRIDES = [
    *("model=dhmd", "data=demo", *(f"data.synthetic.{key}={value}" for key, value in SIZES.items()), "data.batch_size=4"),
    *("model.width=4", "model.heads=1", "model.layers=1", "model.kernels=3"),
    *("logger=none", "trainer.accelerator=cpu", "optimisation.lr=1.0e-3"),
    *("model.homogeneous.dictionary.entries=8", "model.heterogeneous.dictionary.entries=8", "callbacks.checkpoints.every_n_batches=2"),
    *("optimisation.accumulation.batches=3", "trainer.max_epochs=3"),
]
CLOSE = 1e-6


@pytest.fixture
def old(tmp_path, monkeypatch):
    """The folders, at another place than they were, and a cache of their own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with zipfile.ZipFile(Path(__file__).with_name("old_runs.zip")) as runs:
        runs.extractall(tmp_path / "old")
    return tmp_path / "old"


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_close(found, recorded, name=""):
    """The same keys and values; numbers as near as another machine computes them."""
    if isinstance(recorded, dict):
        assert set(found) == set(recorded), name
        for key in recorded:
            assert_close(found[key], recorded[key], f"{name}/{key}")
    elif isinstance(recorded, list):
        assert len(found) == len(recorded), name
        for i, value in enumerate(recorded):
            assert_close(found[i], value, f"{name}/{i}")
    elif isinstance(recorded, float) or (isinstance(recorded, str) and _is_number(recorded)):
        assert float(found) == pytest.approx(float(recorded), abs=CLOSE, rel=CLOSE), name
    else:
        assert found == recorded, name


def _is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def test_it_is_shown(old, capsys):
    assert main(["show", str(old / "finished")]) == 0
    said = capsys.readouterr().out
    recorded = json.loads((old / "finished/metrics.json").read_text())
    assert f"{recorded['test']['mae']:.4f}" in said
    assert "19,078" in said


@pytest.mark.parametrize("split", ["valid", "test"])
def test_it_is_evaluated(old, split):
    recorded = json.loads((old / "finished/metrics.json").read_text())
    chosen = next(row for row in recorded["validation"] if row["epoch"] == recorded["selection"]["epoch"])
    expected = recorded["test"] if split == "test" else {key: value for key, value in chosen.items() if key != "epoch"}
    assert_close(evaluate(old / "finished", split).metrics, expected)


def test_it_is_in_tables_and_on_the_page(old, capsys):
    assert main(["results", str(old / "finished")]) == 0
    mae = json.loads((old / "finished/metrics.json").read_text())["test"]["mae"]
    assert f"{mae:.3f}" in capsys.readouterr().out
    assert main(["report", str(old / "finished"), "-o", str(old / "page.html")]) == 0
    assert f"{mae:.3f}" in (old / "page.html").read_text()


def test_it_predicts(old):
    write_pickle(old / "features.pkl", SyntheticOptions(**SIZES))
    assert main(["predict", str(old / "finished"), str(old / "features.pkl"), "-o", str(old / "found.csv"), "--split", "test"]) == 0
    recorded = [row for row in table(old / "finished/predictions.csv") if row["split"] == "test"]
    assert_close(table(old / "found.csv"), [{key: value for key, value in row.items() if key != "label"} for row in recorded])


@pytest.mark.usefixtures("no_figures")
def test_it_is_resumed_in_the_middle_of_an_epoch(old):
    assert main(["train", f"resume={old / 'interrupted'}"]) == 0
    assert_close(table(old / "interrupted/history.csv"), table(old / "resumed/history.csv"))
    assert_close(table(old / "interrupted/predictions.csv"), table(old / "resumed/predictions.csv"))
    found, recorded = (json.loads((old / name / "metrics.json").read_text()) for name in ("interrupted", "resumed"))
    del found["seconds"], recorded["seconds"]
    assert_close(found, recorded)


def test_its_configuration_is_the_one_that_the_same_overrides_give(old):
    now = to_plain(compose([*OVERRIDES, f"run_dir={old / 'finished'}"]))
    recorded = read_run(old / "finished").config
    assert changed_on_resuming(recorded, now) == []
    assert digest(recorded) == digest(now)


def test_its_record_and_its_network_agree(old):
    recorded, loaded = read_run(old / "finished").record(), load_run(old / "finished")
    assert loaded.data.ids("test") == list(recorded.ids)
    network = load_network(old / "finished").network
    with torch.no_grad():
        outputs = network(loaded.data.dataset("test").__getitems__(range(len(recorded.ids))))
    np.testing.assert_allclose(outputs.prediction.numpy(), recorded.prediction, atol=CLOSE)
    assert set(recorded.edges) == {"homogeneous", "heterogeneous"}
    assert recorded.training is not None
