"""evaluate_test=false: the test split is never read, nothing else changes, and what is absent is said."""

import io
import json
import pickle

import pytest
import torch
import yaml
from rich.console import Console

from dhmd.app import compose
from dhmd.cli import main
from dhmd.data.module import FeatureDataModule
from dhmd.errors import RunError, UsageError
from dhmd.runs.reader import read_run
from dhmd.training.evaluate import evaluate
from dhmd.training.show import print_run
from dhmd.training.train import train
from tiny_runs import DICTIONARIES, TINY


@pytest.fixture(scope="module")
def untested(tiny, tmp_path_factory):
    """A run during whose training nobody asked for the test split."""
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        dataset = FeatureDataModule.dataset
        patch.setattr(FeatureDataModule, "dataset", lambda self, split: asked.append(split) or dataset(self, split))
        run = train(tiny(tmp_path_factory.mktemp("untested") / "run", "evaluate_test=false", "trainer.max_epochs=3"))
    assert set(asked) == {"train", "valid"}
    return run.run_dir


def test_all_but_the_test_split_is_what_it_would_have_been(untested, finished):
    without, whole = (json.loads((run / "metrics.json").read_text()) for run in (untested, finished))
    assert "test" not in without
    assert without["selection"] == whole["selection"]
    assert without["validation"] == whole["validation"]
    assert (untested / "history.csv").read_text() == (finished / "history.csv").read_text()
    rows = (finished / "predictions.csv").read_text().splitlines()
    assert (untested / "predictions.csv").read_text().splitlines() == [row for row in rows if not row.startswith("test,")]
    assert not (untested / "record.h5").exists()
    assert not (untested / "figures").exists()


def test_other_test_samples_change_nothing(tmp_path, no_figures):
    synthetic = [o.removeprefix("data.synthetic.") for o in TINY if o.startswith("data.synthetic.")]
    assert main(["data", "synth", "-o", str(tmp_path / "a.pkl"), *synthetic]) == 0
    content = pickle.loads((tmp_path / "a.pkl").read_bytes())  # noqa: S301  # written above
    content["test"]["regression_labels"] = -content["test"]["regression_labels"]
    content["test"]["vision"] = content["test"]["vision"] * 100 + 7
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(content))
    sizes = [o for o in TINY if not o.startswith("data")]
    metrics, weights = [], []
    for name in "ab":
        given = [
            f"data.path={tmp_path}/{name}.pkl",
            f"data.cache_dir={tmp_path}/cache",
            "data.batch_size=4",
            "data.non_finite=zero",
            f"run_dir={tmp_path}/{name}",
        ]
        run = train(compose(["data=custom", *sizes, *DICTIONARIES, *given, "evaluate_test=false"])).run_dir
        metrics.append({k: v for k, v in json.loads((run / "metrics.json").read_text()).items() if k != "seconds"})
        weights.append(torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"])
    assert metrics[0] == metrics[1]
    assert all(torch.equal(w, weights[1][name]) for name, w in weights[0].items())


def test_show_has_validation_and_says_what_is_absent(untested):
    console = Console(file=io.StringIO(), width=200)
    print_run(untested, console)
    assert "not tested: trained with evaluate_test=false" in console.file.getvalue()
    assert "validation, epoch" in console.file.getvalue()


@pytest.mark.parametrize("verb", ["results", "report", "analyse", "probe"])
def test_what_needs_the_test_split_names_the_run(verb, untested, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([verb, str(untested), *(["-o", "page.html"] if verb == "report" else [])]) == 1
    said = capsys.readouterr()
    assert "not tested: trained with evaluate_test=false" in said.out + said.err
    assert "unexpected" not in said.err


def test_a_table_counts_only_what_was_tested(untested, finished, capsys):
    assert main(["results", str(untested), str(finished)]) == 0
    said = capsys.readouterr().out
    assert "`run`" not in said.partition("Not in the table")[0]
    assert "not tested" in said.partition("Not in the table")[2]


def test_a_finished_run_can_be_tested_on_request(untested, finished):
    assert evaluate(untested, "test").metrics == pytest.approx(read_run(finished).test)
    with pytest.raises(RunError, match="not tested"):
        read_run(untested)
    assert read_run(untested, tested=False).test == {}


def test_it_is_resumed_as_it_began(tiny, tmp_path, no_figures):
    run = train(tiny(tmp_path / "r", "evaluate_test=false", "trainer.max_epochs=1")).run_dir
    (run / "DONE").unlink()
    with pytest.raises(RunError, match=r"evaluate_test \(recorded False, now True\)"):
        train(tiny(run, "resume=true", "trainer.max_epochs=1"))
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config["evaluate_test"]  # as runs were recorded before there was the key
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_run(train(tiny(run, "resume=true", "trainer.max_epochs=1")).run_dir).test


def test_it_is_true_or_false(tiny, tmp_path):
    with pytest.raises(UsageError, match="evaluate_test: found 'later'"):
        train(tiny(tmp_path / "r", "evaluate_test=later"))
