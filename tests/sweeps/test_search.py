"""Searches over hyper-parameters through the command line: persistent, scored on validation, and continued by the same command."""

import csv
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins

from dhmd.app import compose
from dhmd.cli import main
from dhmd.config import conf_dir
from dhmd.config_guard import refuse_foreign
from dhmd.errors import UsageError
from dhmd.files import locked
from dhmd.sweeps.folder import State, jobs_of
from dhmd.sweeps.search import Search, distribution
from tiny_runs import DICTIONARIES, TINY

optuna = pytest.importorskip("optuna")
CategoricalDistribution, FloatDistribution, IntDistribution = (
    getattr(optuna.distributions, f"{kind}Distribution") for kind in ("Categorical", "Float", "Int")
)
SPACE = {
    "optimisation.lr": "tag(log, interval(1e-4, 1e-2))",
    "model.dropout.memory": "interval(0.0, 0.5)",
    "model.homogeneous.dictionary.entries": "choice(16, 32, 64)",
}


class Trials:
    """Takes the place of every launcher's jobs: what was launched, and a validation loss made of the values."""

    def __init__(self):
        self.launched, self.batches = [], []
        self.stop_after = None
        self.failing = ()

    def launch(self, job_overrides, initial_job_idx):
        self.batches.append(len(job_overrides))
        for overrides in job_overrides:
            given = {o.get_key_element(): o.value() for o in OverridesParser.create().parse_overrides(list(overrides))}
            name = str(given["hydra.sweep.subdir"])
            if self.stop_after is not None and len(self.launched) >= self.stop_after:
                raise Killed
            self.launched.append(name)
            folder = Path(str(given["hydra.sweep.dir"])) / name
            folder.mkdir(parents=True, exist_ok=True)
            if name in self.failing:
                (folder / "FAILED").write_text("training diverged\n")
                continue
            (folder / "FAILED").unlink(missing_ok=True)
            loss = (given["optimisation.lr"] - 0.003) ** 2 + given.get("model.dropout.memory", 0.1)
            selection = {"monitor": "validation/loss", "epoch": 3, "value": loss}
            (folder / "metrics.json").write_text(json.dumps({"seconds": {"fit": 1.0}, "selection": selection, "validation": []}))
            (folder / "DONE").touch()
        return []


class Killed(BaseException):
    """An error that nobody catches."""


@pytest.fixture
def trials(monkeypatch):
    found = Trials()
    monkeypatch.setattr(Plugins, "instantiate_launcher", lambda self, **_: found)
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own" / "hparams_search"
    own.mkdir(parents=True)
    shipped = yaml.safe_load((conf_dir() / "hparams_search" / "optuna.yaml").read_text())
    without = dict.fromkeys(shipped["hydra"]["sweeper"]["params"])
    content = {"defaults": ["optuna"], "hydra": {"sweeper": {"startup": 2, "params": {**without, **SPACE}}}}
    (own / "mine.yaml").write_text("# @package _global_\n" + yaml.safe_dump(content))
    return tmp_path


def search(*overrides, folder="s", n=5):
    given = ["hparams_search=mine", "--config-dir", "own", f"hydra.sweeper.n_trials={n}", f"hydra.sweep.dir={folder}"]
    return main(["train", *given, *overrides])


def stored(folder):
    return optuna.load_study(study_name="search", storage=f"sqlite:///{folder}/search.db").trials


def table(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_search_keeps_its_trials_and_names_the_best(here, trials, capsys):
    assert search("trainer.max_epochs=7") == 0
    assert trials.launched == [f"trial-{i:04}" for i in range(5)]
    rows = table(here / "s")
    assert [row["state"] for row in rows] == ["finished"] * 5
    assert list(rows[0]) == ["trial", "state", "validation_loss", "epoch", "seconds", *SPACE, "error"]
    best = min(rows, key=lambda row: float(row["validation_loss"]))
    content = yaml.safe_load((here / "s" / "best.yaml").read_text())
    assert (content["trial"], content["epoch"]) == (best["trial"], 3)
    assert content["values"] == {key: best[key] for key in SPACE}
    assert content["command"].startswith("dhmd train --config-dir=own trainer.max_epochs=7 optimisation.lr=")
    cfg = compose([*content["command"].split()[3:], "run_dir=."])  # with the test split, as any training
    assert cfg.evaluate_test is True
    assert cfg.model.homogeneous.dictionary.entries == int(best["model.homogeneous.dictionary.entries"])
    said = capsys.readouterr().out
    assert f"best on validation: {best['trial']}" in said
    assert content["command"] in said
    assert [t.value for t in stored(here / "s")] == [float(row["validation_loss"]) for row in rows]


def test_the_same_command_again_does_nothing_and_more_trials_are_added(here, trials):
    assert search(n=3) == 0
    before = table(here / "s")
    assert search(n=3) == 0
    assert len(trials.launched) == 3
    assert search(n=5) == 0
    assert trials.launched[3:] == ["trial-0003", "trial-0004"]
    assert table(here / "s")[:3] == before


@pytest.mark.slow
@pytest.mark.parametrize(("at_once", "after"), [(1, 2), (3, 1), (3, 4)])
def test_a_killed_search_goes_on_as_if_it_had_not_been(at_once, after, here, trials):
    batch = f"hydra.sweeper.at_once={at_once}"
    assert search(batch, folder="whole") == 0
    trials.launched, trials.stop_after = [], after
    with pytest.raises(Killed):
        search(batch, folder="killed")
    trials.stop_after = None
    assert search(batch, folder="killed") == 0
    assert trials.launched == [f"trial-{i:04}" for i in range(5)], "no trial twice, none lost"
    assert table(here / "killed") == table(here / "whole")


def test_a_trial_that_was_only_drawn_is_no_trial(here, trials):
    assert search(n=2) == 0
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{here}/s/search.db")
    study.ask({"optimisation.lr": FloatDistribution(1e-4, 1e-2, log=True)})  # killed in the middle of its values
    assert search(n=4) == 0
    assert trials.launched == ["trial-0000", "trial-0001", "trial-0003", "trial-0004"]
    assert stored(here / "s")[2].state.name == "FAIL"


@pytest.mark.slow
def test_a_failed_trial_stops_no_other_and_is_tried_again_with_its_values(here, trials, capsys):
    trials.failing = ("trial-0001",)
    assert search(n=4) == 1
    assert "1 of 4 jobs did not finish" in (said := capsys.readouterr()).err
    assert "trial-0001: training diverged" in said.err
    assert "best on validation" in said.out
    assert len(trials.launched) == 4
    failed = table(here / "s")[1]
    assert (failed["state"], failed["validation_loss"], failed["error"]) == ("failed", "", "training diverged")
    trials.failing = ()
    assert search(n=4) == 0
    assert trials.launched[4:] == ["trial-0001"]
    again = table(here / "s")[1]
    assert [again[key] for key in SPACE] == [failed[key] for key in SPACE]
    assert len(stored(here / "s")) == 4


@pytest.mark.slow
def test_a_lost_study_is_found_by_its_folders(here, trials):
    assert search(n=3) == 0
    before = table(here / "s")
    (here / "s" / "search.db").unlink()
    assert search(n=3) == 0
    assert len(trials.launched) == 3
    assert table(here / "s") == before


@pytest.mark.parametrize(
    "change",
    [
        "optimisation.lr=interval(1e-3, 1e-2)",
        *(pytest.param(c, marks=pytest.mark.slow) for c in ("optimisation.lr=1e-3", "seed=3", "trainer.max_epochs=3")),
    ],
)
def test_a_folder_takes_one_search(change, here, trials, capsys):
    assert search(n=1) == 0
    assert search(change, n=2) == 2
    said = capsys.readouterr().err
    assert "holds another search" in said
    assert change in said
    assert search("launcher=process", "hydra.launcher.n=2", "logger=csv", n=1) == 0  # how it is computed may change


def test_the_command_line_wins_over_the_file(here, trials):
    assert search("optimisation.optimizer.weight_decay=choice(0.0,1e-4)", "model.homogeneous.dictionary.entries=32", n=1) == 0
    (row,) = table(here / "s")
    assert row["optimisation.optimizer.weight_decay"] in ("0.0", "0.0001")
    assert "model.homogeneous.dictionary.entries" not in row
    overrides = json.loads((here / "s" / "sweep.json").read_text())["jobs"]["trial-0000"]
    assert "model.homogeneous.dictionary.entries=32" in overrides


def test_what_a_model_lacks_is_left_out_and_said(here, trials, capsys):
    assert search("ablation=no_homo_dictionary", n=1) == 0
    assert "model.homogeneous.dictionary.entries" not in table(here / "s")[0]
    said = capsys.readouterr().out
    assert "not searched over, since this configuration has no such key: model.homogeneous.dictionary.entries" in said


def test_as_many_are_proposed_as_the_launcher_runs_at_once(here, trials):
    assert search("launcher=process", "hydra.launcher.n=2") == 0
    assert trials.batches == [2, 2, 1]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=1,2", "a search would choose the luckiest"),
        ("evaluate_test=true", "evaluate_test: found true, expected false"),
        ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials: found 0"),
        ("hydra.sweeper.sampler=best", "hydra.sweeper.sampler: found 'best', expected one of tpe, random"),
        ("optimisation.lr=tag(log,interval(0,1))", "optimisation.lr=tag(log,interval(0,1)): cannot be searched over"),
        ("optimisation.lrr=interval(0,1)", "optimisation.lrr"),
        ("trainer=ddp", "add launcher=process"),
        ("hydra.sweeper._target_=hydra_plugins.dhmd_sweeps.optuna_sweeper.Other", "a configuration may not name code to run"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_a_trial(override, said, here, trials, capsys):
    assert search(override) == 2
    assert said in capsys.readouterr().err
    assert trials.launched == []


def test_nothing_to_search_over(here, trials, capsys):
    assert search("optimisation.lr=1e-3", "model.dropout.memory=0.1", "model.homogeneous.dictionary.entries=16") == 2
    assert "nothing to search over" in capsys.readouterr().err


def test_without_optuna_the_extra_is_named(here, trials, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert search() == 2
    assert "pip install 'dhmd[optuna]'" in capsys.readouterr().err


def test_one_command_at_a_time(here, trials, capsys):
    assert search(n=1) == 0
    with locked(here / "s" / "search.db.lock"):
        assert search(n=2) == 2
    assert "another process" in capsys.readouterr().err


def test_a_damaged_study_is_said(here, trials, capsys):
    assert search(n=1) == 0
    (here / "s" / "search.db").write_text("not a database, but long enough to be read as one" * 100)
    assert search(n=2) == 1
    assert "search.db: not readable as an Optuna study" in capsys.readouterr().err


def test_the_file_that_is_shipped_can_be_searched_with_every_model(here, trials, capsys):
    for model in ("dhmd", "dmd", "text_only"):
        assert main(["train", "hparams_search=optuna", f"model={model}", "hydra.sweeper.n_trials=1", f"hydra.sweep.dir={model}"]) == 0
    assert "model.heterogeneous.dictionary.entries" in table(here / "dhmd")[0]
    assert "model.heterogeneous.dictionary.entries" not in table(here / "dmd")[0]


# the space ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("tag(log,interval(1e-5,1e-3))", FloatDistribution(1e-5, 1e-3, log=True)),
        ("interval(1,3)", FloatDistribution(1.0, 3.0)),
        ("int(interval(1,3))", IntDistribution(1, 3)),
        ("range(2,8,2)", IntDistribution(2, 6, step=2)),  # without its end, as in a sweep
        ("range(0.5,2.0,0.5)", FloatDistribution(0.5, 1.5, step=0.5)),
        ("tag(log,range(1,4))", IntDistribution(1, 3, log=True)),
        ("choice(max,'a b',[1,2],true)", CategoricalDistribution(["max", "a\\ b", "[1,2]", "True"])),
        ("1,2", CategoricalDistribution(["1", "2"])),
        ("shuffle(3,1,2)", CategoricalDistribution(["3", "1", "2"])),  # the same at every start
    ],
)
def test_hydras_values_are_optunas(values, expected):
    assert distribution(OverridesParser.create().parse_override(f"key={values}")) == expected


@pytest.mark.parametrize("values", ["tag(log,range(1,9,2))", "range(3,1)", "interval(2,1)", "tag(log,interval(0,1))"])
def test_values_that_optuna_does_not_have(values):
    with pytest.raises(UsageError, match=r"key=.*: cannot be searched over"):
        distribution(OverridesParser.create().parse_override(f"key={values}"))


def test_what_is_proposed_depends_on_the_seed_alone(tmp_path):
    def first(name, seed):
        (tmp_path / name).mkdir()
        space = {"key": OverridesParser.create().parse_override("key=interval(0,1)")}
        found = Search(tmp_path / name, space, [], seed=seed)
        return [found.ask()[1] for _ in range(3)]

    one = first("a", 1)
    assert one == first("b", 1)
    assert one != first("c", 2)
    assert len({str(o) for o in one}) == 3


def test_only_our_sweepers_may_be_named():
    refuse_foreign({"sweeper": {"_target_": "hydra_plugins.dhmd_sweeps.optuna_sweeper.OptunaSweeper"}}, "hydra")
    for name in ("hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper", "hydra_plugins.dhmd_sweeps.optuna_sweeper"):
        with pytest.raises(UsageError, match="refused"):
            refuse_foreign({"sweeper": {"_target_": name}}, "hydra")


# processes ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_killed_while_it_trains_goes_on_with_the_same_trials(here, corpus, monkeypatch):
    monkeypatch.setenv("DHMD_CACHE", str(corpus))
    sizes = [o for o in (*TINY, *DICTIONARIES) if not o.startswith(("optimisation.lr", "model.homogeneous", "trainer.max_epochs"))]
    options = ["hparams_search=mine", "--config-dir", "own", "hydra.sweeper.n_trials=3", "hydra.sweep.dir=s", "trainer.max_epochs=15"]
    command = [sys.executable, "-m", "dhmd.cli", "train", *sizes, *options, "launcher=process", "hydra.launcher.n=2"]
    running = [here / "s" / f"trial-000{i}" for i in range(2)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 240
    while time.monotonic() < until and not all((folder / "history.csv").exists() for folder in running):
        time.sleep(0.1)
    process.kill()
    process.wait()
    drawn = json.loads((here / "s" / "sweep.json").read_text())["jobs"]
    assert list(drawn) == ["trial-0000", "trial-0001"]
    assert [t.state.name for t in stored(here / "s")] == ["RUNNING"] * 2

    assert subprocess.run(command, timeout=500).returncode == 0
    jobs = jobs_of(here / "s")
    assert [(job.name, job.state) for job in jobs] == [(f"trial-000{i}", State.FINISHED) for i in range(3)]
    assert {job.name: list(job.overrides) for job in jobs[:2]} == drawn, "with the values they had"
    assert any(len((folder / "command.txt").read_text().splitlines()) == 2 for folder in running), "continued, not begun anew"
    assert [t.value for t in stored(here / "s")] == [job.loss for job in jobs]
    for job in jobs:
        assert "test" not in json.loads((here / "s" / job.name / "metrics.json").read_text())
