"""Keys that configurations no longer have: refused when they are typed, rewritten in what earlier runs recorded."""

import shutil

import pytest
import yaml

from dhmd.cli import main
from dhmd.results.summary import entry_of
from dhmd.runs.folder import RunFolder
from dhmd.runs.reader import read_run
from tiny_runs import DICTIONARIES, TINY

RECORDED = {"replicas": 1, "beside": None}


@pytest.fixture
def recorded_before(finished, tmp_path):
    """A finished run whose configuration has the keys."""
    folder = shutil.copytree(finished, tmp_path / "before")
    config = yaml.safe_load((folder / "config.yaml").read_text().replace(str(finished), str(folder)))
    config["trainer"] |= RECORDED
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return folder


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["sizes=demo"], "sizes is now scale: scale=demo"),
        (["-m", "sizes=demo,full"], "sizes is now scale"),
        (["optimisation.factor=0.3"], "optimisation.factor is now optimisation.scheduler.factor: optimisation.scheduler.factor=0.3"),
        (["+optimisation.patience=3"], "optimisation.patience is now optimisation.scheduler.patience"),
        (["objective.matching=infonce"], "objective.terms.heterogeneous_matching.loss=infonce"),
        (["objective.orthogonality_axis=batch"], "objective.orthogonality_axis is now objective.terms.orthogonality.axis"),
    ],
)
def test_on_the_command_line_the_new_place_of_a_moved_key_is_said(typed, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY, *DICTIONARIES, *typed]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize("typed", [["trainer.replicas=4"], ["+trainer.replicas=4"], ["-m", "trainer.replicas=1,2"], ["~trainer.beside"]])
def test_on_the_command_line_the_way_to_train_seeds_side_by_side_is_said(typed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *TINY, *DICTIONARIES, *typed]) == 2
    said = capsys.readouterr().err
    assert "was removed" in said
    assert "dhmd train -m seed=1111,1112,... launcher=process hydra.launcher.n=N" in said
    assert not list(tmp_path.rglob("config.yaml"))


def test_an_earlier_run_is_read_as_if_it_had_never_had_them(recorded_before, finished):
    before, now = (read_run(folder) for folder in (recorded_before, finished))
    assert before.config["trainer"] == now.config["trainer"] == RunFolder(recorded_before).config()["trainer"]
    assert entry_of(before).configuration == entry_of(now).configuration


@pytest.mark.usefixtures("no_figures")
def test_an_earlier_run_is_evaluated_and_continued(recorded_before, capsys):
    assert main(["evaluate", str(recorded_before)]) == 0
    (recorded_before / "DONE").unlink()
    assert main(["train", f"resume={recorded_before}", "trainer.max_epochs=4"]) == 0
    assert len(RunFolder(recorded_before).path.joinpath("history.csv").read_text().splitlines()) == 5
    (recorded_before / "DONE").unlink()
    assert main(["train", f"resume={recorded_before}", "trainer.replicas=2"]) == 2
    assert "was removed" in capsys.readouterr().err
