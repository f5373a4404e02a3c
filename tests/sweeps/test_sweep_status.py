"""The state of a job is read from its folder."""

import fcntl
import json
import math

import pytest
import yaml
from rich.console import Console

from dhmd.cli import main
from dhmd.errors import RunError
from dhmd.sweeps.folder import job_at, jobs_of, read_jobs, seconds_left, write_sweep
from dhmd.sweeps.status import duration, summary, table

JOBS = {name: [f"x={name}"] for name in ("finished", "running", "failed", "interrupted", "waiting")}


@pytest.fixture
def sweep(tmp_path):
    """One job of each state; the one that runs is held by an open lock."""
    write_sweep(tmp_path, JOBS, "dhmd train -m x=1,2")
    for name in ("finished", "running", "failed", "interrupted"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump({"trainer": {"max_epochs": 10}}))
        rows = {"finished": 8, "running": 3, "failed": 1, "interrupted": 2}[name]
        (tmp_path / name / "history.csv").write_text("epoch\n" + "".join(f"{i}\n" for i in range(rows)))
    (tmp_path / "finished" / "metrics.json").write_text(json.dumps({"seconds": {"fit": 16.0}, "selection": {"value": 0.5}}))
    (tmp_path / "finished" / "DONE").touch()
    (tmp_path / "failed" / "FAILED").write_text("out of memory [bold]\nmore of it\n")
    with (tmp_path / "running" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield tmp_path


def test_every_state_is_seen(sweep):
    found = {job.name: job for job in jobs_of(sweep)}
    assert {name: job.state.value for name, job in found.items()} == {name: name for name in JOBS}
    assert (found["finished"].loss, found["finished"].seconds, found["finished"].epochs) == (0.5, 16.0, 8)
    assert found["failed"].error == "out of memory [bold]"
    assert (found["interrupted"].epochs, found["interrupted"].max_epochs) == (2, 10)
    assert math.isnan(found["waiting"].loss)
    assert found["waiting"].overrides == ("x=waiting",)


def test_the_time_left_is_epochs_times_their_mean(sweep):
    jobs = [job_at(sweep / name) for name in ("finished", "waiting")]
    assert seconds_left(jobs) == pytest.approx(2.0 * 10)  # 16 s for 8 epochs; 10 to do
    assert seconds_left([job_at(sweep / "waiting")]) is None


def test_the_table_says_it_all(sweep):
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(table(sweep, jobs_of(sweep)))
    text = console.export_text()
    assert "out of memory [bold]" in text
    assert "8 of 10" in text
    assert "5 jobs: 1 finished, 1 running, 1 failed, 1 interrupted, 1 waiting" in summary(jobs_of(sweep))


def test_durations_are_for_people():
    assert [duration(s) for s in (41.6, 200, 7500)] == ["42 s", "3 min 20 s", "2 h 5 min"]


def test_jobs_of_an_earlier_command_stay(tmp_path):
    write_sweep(tmp_path, {"a": ["seed=1"]}, "one")
    write_sweep(tmp_path, {"b": ["seed=2"]}, "two")
    assert read_jobs(tmp_path) == {"a": ["seed=1"], "b": ["seed=2"]}


def test_what_is_no_sweep(tmp_path, capsys):
    assert main(["sweep", "status", str(tmp_path)]) == 1
    assert "not the folder of a sweep; expected sweep.json" in capsys.readouterr().err
    (tmp_path / "sweep.json").write_text("[]")
    with pytest.raises(RunError, match="damaged"):
        read_jobs(tmp_path)
