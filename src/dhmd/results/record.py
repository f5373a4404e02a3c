"""Tables from run folders, and the committed record by which a test detects edited numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from dhmd.errors import RunError
from dhmd.files import read_object
from dhmd.results.compare import Bootstrapped, Comparison, Predictions, bootstrap_rows, compare
from dhmd.results.csv import to_csv
from dhmd.results.latex import to_latex
from dhmd.results.markdown import to_markdown
from dhmd.results.markers import check_between_markers
from dhmd.results.pairing import NO_COMPARISON
from dhmd.results.summary import (
    Table,
    differing,
    entries_from_json,
    entries_to_json,
    entry_of,
    seal,
    tables_of,
    unseal,
)
from dhmd.results.tables import document
from dhmd.runs.identity import digest
from dhmd.runs.reader import Run, read_runs, run_label

SCHEMA = 1
INTERVALS = ("t", "bootstrap")
FORMATS = ("markdown", "csv", "latex")
_Kept = TypeVar("_Kept", Comparison, Bootstrapped)


def results_record(
    runs: Iterable[Run],
    missing: Mapping[str, str] | None = None,
    *,
    metrics: Sequence[str] = (),
    reproduce: str | None = None,
    reference: str = NO_COMPARISON,
    interval: str = "t",
) -> dict[str, Any]:
    """Return everything a table is made of, as plain JSON: an entry a run (with the SHA-256 of its metrics.json) and display options.

    Args:
        runs: the finished runs.
        missing: names of the unfinished runs, and why.
        metrics: keys of the metrics to show; the main ones by default.
        reproduce: "mosi" or "mosei" for the table with the published rows.
        reference: the reference row (`dhmd.results.pairing.pairings`): "" for each model's row without an ablation, "none" for no
            comparison.
        interval: "t" for Student's interval over seeds, "bootstrap" for one over seeds and videos.

    Raises:
        UsageError: the reference matches no row, or several.
        RunError: bootstrap intervals are wanted and cannot be computed.
    """
    done = list(runs)
    entries = sorted((entry_of(run) for run in done), key=lambda entry: entry.run)
    tables, predictions = tables_of(entries), Predictions(done)
    return {
        "schema": SCHEMA,
        "reproduce": reproduce,
        "metrics": list(metrics),
        "reference": reference,
        "interval": interval,
        "entries": entries_to_json(entries),
        "comparisons": seal(compare(tables, predictions, reference)) if tables else [],
        "bootstrap": seal(bootstrap_rows(tables, predictions)) if interval == "bootstrap" else [],
        "missing": dict(missing or {}),
        **({"differing": differences} if (differences := _told_apart(tables, done)) else {}),
    }


def _told_apart(tables: Sequence[Table], runs: Iterable[Run]) -> dict[str, dict[str, Any]]:
    """Return the differences of configurations whose rows read alike except for the digest, by digest."""
    configs = {digest(run.config): run.config for run in runs}
    found: dict[str, dict[str, Any]] = {}
    for table in tables:
        alike: dict[tuple[str, ...], list[str]] = {}
        for group in table.groups:
            *name, configuration = group.first.row
            alike.setdefault(tuple(name), []).append(configuration)
        for digests in alike.values():
            if len(digests) > 1:
                found |= differing({one: configs[one] for one in digests})
    return found


def record_of(
    folders: Iterable[Path],
    *,
    metrics: Sequence[str] = (),
    reproduce: str | None = None,
    reference: str = NO_COMPARISON,
    interval: str = "t",
    unfinished: Mapping[Path, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the `results_record` of every run among and below the folders.

    Args:
        folders: run folders, or folders of such at any depth.
        metrics: as for `results_record`.
        reproduce: as for `results_record`.
        reference: as for `results_record`.
        interval: as for `results_record`.
        unfinished: expected run folders that are not finished, by resolved path, and their states.

    Raises:
        RunError: a folder is missing, or holds no run and none was expected; or as for `results_record`.
        UsageError: as for `results_record`.
    """
    given = list(folders)
    runs, failed = read_runs([f for f in given if not _only_unfinished(f, unfinished)])
    missing = {
        run_label(folder): reason.replace(f"{folder}/", "").replace(f"{folder}: ", "").replace(str(folder), run_label(folder))
        for folder, reason in failed.items()
    }
    missing |= {run_label(folder): reason for folder, reason in unfinished.items()}
    return results_record(runs, missing, metrics=metrics, reproduce=reproduce, reference=reference, interval=interval)


def render(record: Mapping[str, Any], form: str = "markdown") -> str:
    """Return the tables of a record, as "markdown", "csv" or "latex".

    Raises:
        RunError: the record is of another schema, damaged or edited.
    """
    if record.get("schema") != SCHEMA:
        raise RunError(f"schema: found {record.get('schema')!r}, expected {SCHEMA}; write the record again from the runs")
    tables = tables_of(entries_from_json(record["entries"]))
    # records written before comparisons existed lack these keys
    comparisons = _unsealed(Comparison, record.get("comparisons", ()), "comparison")
    bootstrap = _unsealed(Bootstrapped, record.get("bootstrap", ()), "bootstrap") if record.get("interval") == "bootstrap" else None
    rows = {tuple(e.metrics_sha256 for e in group.entries) for table in tables for group in table.groups}
    if not rows >= {row for found in comparisons for row in (found.row, found.reference)}:
        raise RunError("a comparison is of rows that are not in the record: it was edited; write the record again from the runs")
    if form == "csv":
        shown = record["metrics"], record["missing"]
        return to_csv(tables, *shown, published=record["reproduce"], comparisons=comparisons, bootstrap=bootstrap)
    whole = document(
        tables,
        record["metrics"],
        record["missing"],
        published=record["reproduce"],
        comparisons=comparisons,
        reference=record.get("reference", NO_COMPARISON),
        bootstrap=bootstrap,
        differing=record.get("differing", {}),  # records of older versions lack it
    )
    return to_latex(whole) if form == "latex" else to_markdown(whole)


def read_record(path: Path) -> dict[str, Any]:
    """Return a record from its file.

    Raises:
        RunError: the file is missing or no JSON object.
    """
    return read_object(path, f"write it with `dhmd results RUNS --record {path.name}`", "write the record again from the runs")


def check_table(file: Path, name: str, record: Path | Mapping[str, Any]) -> None:
    """Check that the text between a document's markers agrees with its record.

    Raises:
        RunError: a line differs, or the record was edited.
        UsageError: the document lacks the markers.
    """
    content = read_record(record) if isinstance(record, Path) else record
    check_between_markers(file, name, render(content))


def check_runs(record: Mapping[str, Any], runs: Iterable[Run]) -> None:
    """Check that a record belongs to these runs: every SHA-256 in it is that of a run's metrics.json or predictions.csv.

    Raises:
        RunError: an entry fits no run, a run fits no entry, or a comparison or interval was computed from other predictions.
    """
    done = list(runs)
    recorded = {entry["metrics_sha256"]: entry["run"] for entry in record["entries"]}
    there = {run.metrics_sha256: run.name for run in done}
    for sha, name in {**recorded, **there}.items():
        if sha not in recorded or sha not in there:
            where = "the record but not among the runs" if sha in recorded else "the runs but not in the record"
            raise RunError(f"{name}: metrics.json with SHA-256 {sha[:12]}... is in {where}; write the record again from the runs")
    used = {sha for part in ("comparisons", "bootstrap") for found in record.get(part, ()) for sha in found["predictions"]}
    files = [run.path / "predictions.csv" for run in done]
    for sha in sorted(used - {hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}):
        raise RunError(
            f"predictions.csv with SHA-256 {sha[:12]}... is in the record but not among the runs; write the record again from them"
        )


def _unsealed(kind: type[_Kept], items: Iterable[Mapping[str, Any]], what: str) -> list[_Kept]:
    found = []
    for content in unseal(items, [field.name for field in fields(kind)], what):
        plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        found.append(kind(**plain))
    return found


def _only_unfinished(folder: Path, unfinished: Mapping[Path, str]) -> bool:
    """Return whether all runs of a folder are known to be unfinished before any of them has left a file."""
    inside = [path for path in unfinished if folder.resolve() in path.parents]
    return bool(inside) and not any(folder.rglob("config.yaml"))
