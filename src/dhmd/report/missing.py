"""The runs a page cannot show: failed, unfinished, unreadable, or not begun."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from dhmd.evaluation.runs import run_label


def missing_runs(folder: Path, failed: Mapping[Path, str], found: Iterable[Path]) -> list[tuple[str, str]]:
    """Name and reason of each, sorted by name; jobs of a sweep that have no folder yet are among them.

    Args:
        folder: what the page is about.
        failed: reasons by run folder.
        found: all run folders there are.
    """
    said = {run_label(run): _reason(run, reason) for run, reason in failed.items()}
    there = {run.resolve() for run in found}
    for record in [*folder.glob("sweep.json"), *sorted(folder.glob("*/sweep.json"))]:
        for name in _jobs(record):
            job = record.parent / name
            if job.resolve() not in there:
                said[run_label(job)] = "a job of the sweep that has not begun"
    return sorted(said.items())


def _reason(run: Path, reason: str) -> str:
    short = reason.replace(f"{run}/", "").replace(f"{run}: ", "")
    try:
        error = (run / "FAILED").read_text(encoding="utf-8", errors="replace").strip().partition("\n")[0]
    except OSError:
        return short
    return f"failed: {error}" if error else short


def _jobs(record: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads(record.read_text(encoding="utf-8"))["jobs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []  # a damaged list hides no run that is there
