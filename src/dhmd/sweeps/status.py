"""The command ``dhmd sweep status``: a sweep's jobs as a table, live if requested."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from dhmd.sweeps.folder import Job, State, jobs_of, seconds_left

STYLE = {State.FINISHED: "green", State.RUNNING: "bold", State.FAILED: "red", State.INTERRUPTED: "yellow", State.WAITING: "dim"}
EVERY = 2.0  # seconds between two updates


def show_status(folder: Path, watch: bool = False) -> None:
    """Print the table.

    Raises:
        RunError: the folder is not that of a sweep.
    """
    jobs = jobs_of(folder)
    console = Console()
    if not watch:
        console.print(table(folder, jobs))
        return
    with Live(table(folder, jobs), console=console, auto_refresh=False) as live:
        while any(job.state is State.RUNNING for job in jobs):
            time.sleep(EVERY)
            jobs = jobs_of(folder)
            live.update(table(folder, jobs), refresh=True)


def table(folder: Path, jobs: Sequence[Job]) -> Table:
    """Return a table of the jobs with their details, and a summary in the caption."""
    found = Table(title=escape(str(folder)), caption=summary(jobs), caption_justify="left", title_justify="left")
    for name in ("job", "state", "epochs", "time", "validation loss", "error"):
        found.add_column(name, justify="right" if name in ("epochs", "time", "validation loss") else "left", overflow="fold")
    for job in jobs:
        found.add_row(
            escape(job.name),
            f"[{STYLE[job.state]}]{job.state.value}[/]",
            f"{job.epochs} of {job.max_epochs}" if job.max_epochs else "",
            "" if job.seconds is None else duration(job.seconds),
            "" if job.loss != job.loss else f"{job.loss:.4f}",
            escape(job.error),
        )
    return found


def summary(jobs: Sequence[Job]) -> str:
    """Return the numbers of jobs by state, and the time that is left."""
    counted = Counter(job.state for job in jobs)
    parts = [f"{counted[state]} {state.value}" for state in State if counted[state]]
    left = seconds_left(jobs)
    running = counted[State.RUNNING]
    rest = f"; at most {duration(left)} left with {running} at once" if left and running else ""
    return f"{len(jobs)} jobs: {', '.join(parts)}{rest}"


def duration(seconds: float) -> str:
    """Return a duration as text: 42 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
