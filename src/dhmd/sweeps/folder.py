"""The folder of a sweep: the list of its jobs, and the state of each as its run folder shows it."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from dhmd.errors import DhmdError, RunError
from dhmd.files import in_use, write_text
from dhmd.runs.folder import RunFolder

SCHEMA = 1
RECORD = "sweep.json"


class State(Enum):
    """State of a job."""

    FINISHED = "finished"
    RUNNING = "running"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    WAITING = "waiting"


@dataclass(frozen=True)
class Job:
    """A job and its state.

    Attributes:
        name: name of its folder.
        overrides: overrides of ``dhmd train``.
        state: state of the job.
        epochs: number of finished epochs.
        max_epochs: maximum number of epochs; None before it began.
        seconds: seconds of training so far; None if unknown.
        loss: validation loss of the best epoch; NaN before it finished.
        error: line of the error, if the job failed; "" otherwise.
    """

    name: str
    overrides: tuple[str, ...]
    state: State
    epochs: int
    max_epochs: int | None
    seconds: float | None
    loss: float
    error: str


def write_sweep(folder: Path, jobs: Mapping[str, Sequence[str]], command: str) -> None:
    """Write the list of jobs by name; jobs of earlier commands are kept.

    Raises:
        RunError: an existing list cannot be read.
    """
    before = read_jobs(folder) if (folder / RECORD).exists() else {}
    content = {"schema": SCHEMA, "command": command, "jobs": {**before, **{name: list(o) for name, o in jobs.items()}}}
    write_text(folder / RECORD, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def read_jobs(folder: Path) -> dict[str, list[str]]:
    """Return the overrides of each job by name.

    Raises:
        RunError: the folder is not that of a sweep.
    """
    file = folder / RECORD
    try:
        jobs = json.loads(file.read_text(encoding="utf-8"))["jobs"]
        return {str(name): [str(o) for o in overrides] for name, overrides in jobs.items()}
    except FileNotFoundError as error:
        raise RunError(f"{folder}: not the folder of a sweep; expected {RECORD} in it, as `dhmd train -m` writes it") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise RunError(f"{file}: damaged ({error}); run the sweep's command again") from error


def jobs_of(folder: Path) -> list[Job]:
    """Return every job of a sweep with its state, in the sweep's order.

    Raises:
        RunError: the folder is not that of a sweep.
    """
    return [job_at(folder / name, overrides) for name, overrides in read_jobs(folder).items()]


def job_at(path: Path, overrides: Sequence[str] = ()) -> Job:
    """Return the state of a job's run folder, which need not exist yet."""
    run = RunFolder(path)
    epochs, seconds, loss = _epochs(run.history_file), None, math.nan
    if run.finished:
        state = State.FINISHED
        try:
            metrics = run.metrics()
            seconds, loss = float(metrics["seconds"]["fit"]), float(metrics["selection"]["value"])
        except (RunError, ValueError, KeyError, TypeError):
            state = State.INTERRUPTED  # the record of a finished run was deleted
    elif in_use(path):
        state = State.RUNNING
    elif run.failed_file.exists():
        state = State.FAILED
    else:
        state = State.INTERRUPTED if run.started else State.WAITING
    if seconds is None and epochs and run.started:
        seconds = run.history_file.stat().st_mtime - run.config_file.stat().st_mtime
    error = run.failed_file.read_text().strip().partition("\n")[0] if state is State.FAILED else ""
    return Job(path.name, tuple(overrides), state, epochs, _max_epochs(run), seconds, loss, error)


def seconds_left(jobs: Sequence[Job]) -> float | None:
    """Estimate the seconds left, from the time of an epoch so far and the number of running jobs; None without a basis.

    The estimate is too large if jobs stop early.
    """
    timed = [(job.seconds, job.epochs) for job in jobs if job.seconds and job.epochs]
    longest = max((job.max_epochs for job in jobs if job.max_epochs), default=None)
    if not timed or longest is None:
        return None
    per_epoch = sum(seconds for seconds, _ in timed) / sum(epochs for _, epochs in timed)
    unfinished = [job for job in jobs if job.state not in (State.FINISHED, State.FAILED)]
    open_epochs = sum((job.max_epochs or longest) - job.epochs for job in unfinished)
    return per_epoch * open_epochs / max(1, sum(job.state is State.RUNNING for job in jobs))


def _epochs(history: Path) -> int:
    try:
        with history.open(newline="") as file:
            return max(0, sum(1 for _ in csv.reader(file)) - 1)
    except OSError:
        return 0


def _max_epochs(run: RunFolder) -> int | None:
    try:
        return int(run.config()["trainer"]["max_epochs"])
    except (DhmdError, KeyError, TypeError, ValueError):
        return None
