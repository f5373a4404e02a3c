"""Run folders that a table lacks: jobs that failed, are running, were interrupted or have not begun."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from dhmd.runs.folder import RunFolder
from dhmd.runs.reader import is_run
from dhmd.sweeps.folder import RECORD, Job, State, job_at, jobs_of


def unfinished(folders: Sequence[Path]) -> dict[Path, str]:
    """Return every unfinished run at or below some folders, by resolved path, with its state and the line of its error.

    Jobs of a sweep that have no folder yet are included. Folders that do not exist hold no runs.

    Raises:
        RunError: the list of a sweep's jobs cannot be read.
    """
    found: dict[Path, str] = {}
    for folder in folders:
        for path, job in _jobs(folder):
            # an imported checkpoint is no training that could have finished
            if job.state is not State.FINISHED and not RunFolder(path).imported:
                found[path.resolve()] = _said(job)
    return found


def _jobs(folder: Path) -> Iterator[tuple[Path, Job]]:
    if (folder / RECORD).is_file():
        yield from ((folder / job.name, job) for job in jobs_of(folder))
    if is_run(folder):
        yield folder, job_at(folder)
    elif folder.is_dir():
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.is_symlink():
                yield from _jobs(child)


def _said(job: Job) -> str:
    progress = f" after {job.epochs} of {job.max_epochs} epochs" if job.epochs and job.max_epochs else ""
    return f"{job.state.value}{progress}{f': {job.error}' if job.error else ''}"
