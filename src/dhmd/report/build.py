"""Data of a page, built from a folder of runs as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dhmd import __version__
from dhmd.errors import RunError
from dhmd.report.ablation import Ablation, ablations
from dhmd.report.configuration import Differing, differing
from dhmd.report.details import Detail, detail
from dhmd.report.grids import Grid, data_name, results_grid, runs_grid
from dhmd.report.grouping import Comparable, comparables
from dhmd.report.texts import texts_of
from dhmd.results.compare import Predictions, compare
from dhmd.runs.reader import Run, read_runs, run_label


@dataclass(frozen=True)
class Limits:
    """Limits on the size of a page.

    Attributes:
        details: number of runs shown in detail, the first of each configuration.
        samples: number of samples in the browser for each of these runs.
        texts: whether texts of samples are on the page.
    """

    details: int = 12
    samples: int = 200
    texts: bool = True


@dataclass(frozen=True)
class Report:
    """All data of a page.

    Attributes:
        title: name of the folder.
        version: version of dhmd.
        synthetic: "all", "some" or "none" of the finished runs are on synthetic data.
        finished: number of finished runs.
        missing: name and reason of each other run.
        results: one table for each set of comparable runs.
        runs: the same tables with one row for each run.
        ablations: comparisons of configurations with their references.
        details: runs in detail.
        left_out: names of configurations beyond the limit.
        unreadable: runs whose arrays or history cannot be read, and why; a later seed replaces such a run.
        differing: configuration keys that differ among the detailed runs.
        browser: input of the page's script: texts and samples of each detailed run.
        limits: limits of the page.
    """

    title: str
    version: str
    synthetic: str
    finished: int
    missing: list[tuple[str, str]]
    results: list[Grid]
    runs: list[Grid]
    ablations: list[Ablation]
    details: list[Detail]
    left_out: list[str]
    unreadable: list[tuple[str, str]]
    differing: list[Differing]
    browser: dict[str, Any]
    limits: Limits


def build(folder: Path, limits: Limits | None = None, reference: str = "", unfinished: Mapping[Path, str] | None = None) -> Report:
    """Read every run among and below a folder.

    Args:
        folder: a run, a sweep, or a folder of runs at any depth.
        limits: limits on the size of the page.
        reference: words of the row that is the reference (`dhmd.results.pairing.pairings`).
        unfinished: runs below the folder that have not finished, by resolved path, and their states.

    Raises:
        RunError: the folder does not exist, holds no run, or none has finished.
        UsageError: the reference matches no row, or several.
    """
    limits = limits or Limits()
    runs, failed = read_runs([folder])
    missing = _missing(failed, unfinished or {})
    if not runs:
        name, reason = missing[0]
        raise RunError(f"{folder}: {len(missing)} runs, none finished, expected one at least; {name}: {reason}")
    found = comparables(runs, reference)
    compared = compare([one.table for one in found], Predictions(runs), reference)
    details, shown, left_out, unreadable = _details(found, limits)
    synthetic = {run.metrics["synthetic"] for run in runs}
    return Report(
        title=folder.resolve().name,
        version=__version__,
        synthetic="some" if len(synthetic) > 1 else "all" if True in synthetic else "none",
        finished=len(runs),
        missing=missing,
        results=[results_grid(one) for one in found],
        runs=[runs_grid(one) for one in found],
        ablations=[one for comparable in found for one in ablations(comparable, compared)],
        details=details,
        left_out=left_out,
        unreadable=unreadable,
        differing=differing(shown, [one.name for one in details]),
        browser=_browser(details, shown, limits),
        limits=limits,
    )


def _details(found: Sequence[Comparable], limits: Limits) -> tuple[list[Detail], list[Run], list[str], list[tuple[str, str]]]:
    """Return details of the first readable run of each configuration, these runs, configurations beyond the limit, and unreadable runs."""
    details: list[Detail] = []
    shown: list[Run] = []
    left_out, unreadable = [], []
    for one, row in ((same, row) for same in found for row in same.rows):
        name = f"{row.name} on {data_name(one)}" if len(found) > 1 else row.name
        if len(details) == limits.details:
            left_out.append(name)
            continue
        for run in row.runs:
            try:
                details.append(detail(f"run{len(details) + 1}", name, data_name(one), run, limits.samples))
            except RunError as error:
                unreadable.append((run_label(run.path), str(error).replace(f"{run.path}/", "")))
                continue
            shown.append(run)
            break
    return details, shown, left_out, unreadable


def _missing(failed: Mapping[Path, str], unfinished: Mapping[Path, str]) -> list[tuple[str, str]]:
    """Return the name and reason of each run that is not on the page, by name."""
    said = {run_label(run): reason.replace(f"{run}/", "").replace(f"{run}: ", "") for run, reason in failed.items()}
    return sorted({**said, **{run_label(run): reason for run, reason in unfinished.items()}}.items())


def _browser(details: Sequence[Detail], shown: Sequence[Run], limits: Limits) -> dict[str, Any]:
    """Return the samples of every run; texts are stored once for all runs on the same data."""
    texts: dict[str, dict[str, str]] = {}
    known: dict[str, dict[str, str]] = {}
    runs = {}
    for one, run in zip(details, shown, strict=True):
        data = str((run.description.get("source") or {}).get("sha256") or run.metrics["data"])
        if limits.texts and data not in known:
            known[data] = texts_of(run)
        name = str(list(known).index(data)) if data in known else ""
        ids = [sample["id"] for sample in one.samples["samples"]]
        texts.setdefault(name, {}).update({i: known[data][i] for i in ids if i in known.get(data, {})})
        runs[one.key] = {**one.samples, "texts": name, "of": one.of}
    return {"texts": texts, "runs": runs}
