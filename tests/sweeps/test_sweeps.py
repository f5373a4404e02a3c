"""Sweeps through the command line: what is done is not done again, what fails stops nothing, and nothing is done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest
import yaml

from dhmd.cli import main
from dhmd.config import conf_dir
from dhmd.errors import UsageError
from dhmd.files import locked
from dhmd.results.record import record_of
from dhmd.sweeps.folder import State, jobs_of
from hydra_plugins.dhmd_sweeps import process_launcher
from hydra_plugins.dhmd_sweeps.process_launcher import ProcessLauncher
from tiny_runs import DICTIONARIES, TINY


@pytest.fixture
def here(tmp_path, corpus, monkeypatch, no_figures):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DHMD_CACHE", str(corpus))
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


def sweep(*overrides):
    return main(["train", "-m", *TINY, *DICTIONARIES, "trainer.max_epochs=1", *overrides])


def only_folder(here):
    (folder,) = (here / "runs" / "sweeps").iterdir()
    return folder


def test_the_same_command_again_does_what_is_left(here, capsys):
    assert sweep("ablation=full,no_gd", "seed=1,2") == 0
    folder = only_folder(here)
    assert {job.name: job.state for job in jobs_of(folder)} == {
        f"ablation-{a},seed-{s}": State.FINISHED for a in ("full", "no_gd") for s in (1, 2)
    }
    written = {p: p.stat().st_mtime_ns for p in folder.rglob("metrics.json")}
    (folder / "ablation-no_gd,seed-2" / "DONE").unlink()  # as if it had been stopped just before its end
    assert sweep("ablation=full,no_gd", "seed=1,2", "logger=none") == 0
    assert only_folder(here) == folder
    again = {p for p, t in written.items() if p.stat().st_mtime_ns != t}
    assert again == {folder / "ablation-no_gd,seed-2" / "metrics.json"}
    assert "4 jobs, 1 to do" in capsys.readouterr().out


def test_a_failed_job_stops_no_other_and_is_tried_again(here, capsys):
    assert sweep("optimisation.lr=1.0e-3,1.0e+30", "hydra.sweep.dir=s") == 1
    said = capsys.readouterr().err
    assert "1 of 2 jobs did not finish" in said
    assert "diverged" in said
    assert [job.state for job in jobs_of(here / "s")] == [State.FINISHED, State.FAILED]
    assert main(["sweep", "status", "s"]) == 0
    assert "diverged" in capsys.readouterr().out


@pytest.mark.slow
def test_a_job_that_was_ending_when_the_command_came_again_is_done(here, capsys):
    """Whoever holds its lock now may be what a killed sweep left behind: it is waited for, and its work is done when it ends without."""
    job, ends = here / "s" / "seed-1", threading.Event()
    job.mkdir(parents=True)

    def leftover():
        with locked(job / ".lock"):
            taken.set()
            ends.wait()

    taken = threading.Event()
    thread = threading.Thread(target=leftover)
    thread.start()
    taken.wait()
    threading.Timer(3.0, ends.set).start()
    assert sweep("seed=1,2", "hydra.sweep.dir=s") == 0
    thread.join()
    said = capsys.readouterr().out
    assert "2 jobs, 1 to do" in said
    assert [job.state for job in jobs_of(here / "s")] == [State.FINISHED] * 2


def test_a_named_study_is_one_command(here):
    assert main(["train", "sweep=edges", *TINY, *DICTIONARIES, "trainer.max_epochs=1", "ablation=full,edges_uniform", "seed=3"]) == 0
    folder = only_folder(here)
    assert folder.name.startswith("edges-")
    assert [job.name for job in jobs_of(folder)] == ["ablation-full", "ablation-edges_uniform"]


@pytest.mark.slow
def test_a_folder_with_runs_of_another_configuration_is_not_taken_for_done(here, capsys):
    assert sweep("seed=1,2", "hydra.sweep.dir=s") == 0
    assert sweep("seed=1,2", "hydra.sweep.dir=s", "optimisation.lr=0.5") == 2
    said = capsys.readouterr().err
    assert "seed-1: holds a run of another configuration: optimisation.lr (recorded 0.001, now 0.5)" in said
    assert sweep("seed=1,2", "hydra.sweep.dir=s", "trainer.max_epochs=1", "logger=csv") == 0  # how a run is computed may change


def test_one_run_is_not_continued_as_a_sweep(here, capsys):
    assert main(["train", "-m", "resume=run", "seed=1,2"]) == 2
    assert "without -m" in capsys.readouterr().err


@pytest.mark.slow
def test_files_of_ones_own_and_odd_folders_reach_the_jobs(here):
    (here / "own" / "experiment").mkdir(parents=True)
    (here / "own" / "experiment" / "quick.yaml").write_text("# @package _global_\noptimisation:\n  lr: 0.0125\n")
    (here / "evil.py").write_text("raise SystemExit('a module of the working folder was imported')")
    (here / "torch.py").write_text("raise SystemExit('a module of the working folder was imported')")
    options = [*TINY, *DICTIONARIES, "trainer.max_epochs=1", "experiment=quick", "seed=1,2", "--config-dir", "own"]
    assert main(["train", "-m", *options, "launcher=process", "hydra.launcher.n=2", "hydra.sweep.dir='it\\'s here'"]) == 0
    for job in jobs_of(here / "it's here"):
        config = yaml.safe_load((here / "it's here" / job.name / "config.yaml").read_text())
        assert config["labels"]["experiment"] == "quick"


@pytest.mark.parametrize("study", sorted(p.stem for p in (conf_dir() / "sweep").glob("*.yaml")))
def test_a_job_of_a_study_is_handed_on_as_it_is(study, here, monkeypatch):
    """Commands of the process launcher have all that the study says."""
    typed = []
    parameters = yaml.safe_load((conf_dir() / "sweep" / f"{study}.yaml").read_text())["hydra"]["sweeper"]["params"]
    first = [
        f"{key}={str(values).partition('(')[2].partition(',')[0] or str(values).partition(',')[0]}" for key, values in parameters.items()
    ]
    monkeypatch.setattr(process_launcher.subprocess, "Popen", lambda command, **_: typed.append(command) or Ended())
    main(["train", f"sweep={study}", *first, "launcher=process", "hydra.sweep.dir=s"])
    (command,) = typed
    overrides = command[command.index("train") + 1 :]
    assert {f"sweep={study}", "hydra.mode=RUN", "resume=true", *first} <= set(overrides)


class Ended:
    """A process that has ended well."""

    def poll(self):
        return 0


def test_ddp_in_the_sweeps_own_process_is_refused(here, capsys):
    assert sweep("trainer=ddp", "seed=1,2") == 2
    assert "add launcher=process" in capsys.readouterr().err
    assert not (here / "runs").exists()


# processes ----------------------------------------------------------------------------------------------------------------------


def command(*overrides):
    return [sys.executable, "-m", "dhmd.cli", "train", "-m", *TINY, *DICTIONARIES, "launcher=process", "hydra.sweep.dir=s", *overrides]


@pytest.mark.slow
def test_jobs_get_their_own_gpus_from_a_given_list(here):
    options = ["hydra.launcher.n=2", "hydra.launcher.gpus=[4,5,6,7]", "hydra.launcher.gpus_per_job=2", "trainer.max_epochs=1", "seed=1,2,3"]
    assert subprocess.run(command(*options), timeout=500).returncode == 0
    seen = {}
    for job in jobs_of(here / "s"):
        assert job.state is State.FINISHED
        seen[job.name] = json.loads((here / "s" / job.name / "environment.json").read_text())["cuda_visible_devices"]
    assert set(seen.values()) <= {"4,5", "6,7"}
    assert {seen["seed-1"], seen["seed-2"]} == {"4,5", "6,7"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n": 0}, "1 at least"),
        ({"n": 3, "gpus": [0, 1]}, "found 2; 3 jobs"),
        ({"gpus": [1, 1]}, "each GPU once"),
        ({"threads": 0}, "at least"),
    ],
)
def test_gpus_that_cannot_be_handed_out(options, said):
    with pytest.raises(UsageError, match=said):
        ProcessLauncher(**options)


def table(folder):
    """All that a results table is made of, without what differs between two runs of one thing: hashes of files with times in them."""
    entries = record_of([folder])["entries"]
    return sorted(
        (e["run"].rpartition("/")[2], e["seed"], e["ablation"], e["configuration"], tuple(sorted(e["test"].items()))) for e in entries
    )


@pytest.mark.slow
def test_a_sweep_killed_three_times_ends_with_the_table_of_one_that_was_not(here, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    what = ["trainer.max_epochs=3", "ablation=full,no_gd,no_decoupling", "seed=range(1,5)"]
    chance = random.Random(5)  # noqa: S311
    for _ in range(3):
        killed = command(*what, "hydra.launcher.n=2")
        process = subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        begun = len(list((here / "s").rglob("config.yaml")))
        until = time.monotonic() + 200
        while time.monotonic() < until and len(list((here / "s").rglob("config.yaml"))) == begun:  # until a further job has begun
            time.sleep(0.2)
        time.sleep(chance.uniform(0, 8))
        process.send_signal(signal.SIGKILL)
        process.wait()
    states = [job.state for job in jobs_of(here / "s")]
    assert len(states) == 12
    assert states.count(State.FINISHED) < 12, "killed too late to test anything"
    assert subprocess.run(killed, timeout=900).returncode == 0
    assert [job.state for job in jobs_of(here / "s")] == [State.FINISHED] * 12
    # all in one process: what a job gives does not depend on how it is launched either
    whole = [o for o in command(*what, "hydra.sweep.dir=whole") if o not in ("launcher=process", "hydra.sweep.dir=s")]
    assert subprocess.run(whole, timeout=900).returncode == 0
    assert table(here / "s") == table(here / "whole")


@pytest.mark.slow
def test_jobs_end_with_a_killed_parent(here):
    process = subprocess.Popen(command("trainer.max_epochs=200", "seed=1,2", "hydra.launcher.n=2"), stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while time.monotonic() < until and not all((here / "s" / f"seed-{s}" / "history.csv").exists() for s in (1, 2)):
        time.sleep(0.5)
    assert [job.state for job in jobs_of(here / "s")] == [State.RUNNING] * 2
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    until = time.monotonic() + 20
    while time.monotonic() < until and any(job.state is State.RUNNING for job in jobs_of(here / "s")):
        time.sleep(0.2)
    assert [job.state for job in jobs_of(here / "s")] == [State.INTERRUPTED] * 2
