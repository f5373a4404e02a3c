"""From run folders to tables, and the committed record that lets a test find a number somebody edited."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dhmd.atomic import write_text
from dhmd.errors import RunError, UsageError
from dhmd.evaluation.entries import entries_from_json, entries_to_json, entry_of, tables_of
from dhmd.evaluation.markers import check_between_markers, update_between_markers
from dhmd.evaluation.metrics import LABELS
from dhmd.evaluation.runs import Run, read_runs, run_label
from dhmd.evaluation.tables import markdown, reproduction, to_csv

SCHEMA = 1


def results_record(
    runs: Iterable[Run], missing: Mapping[str, str] | None = None, *, metrics: Sequence[str] = (), reproduce: str | None = None
) -> dict[str, Any]:
    """All a table is made of, as plain JSON: an entry a run (with the SHA-256 of its metrics.json) and how it is shown.

    Args:
        runs: the finished runs.
        missing: names of the others, and why.
        metrics: keys to show; the main ones by default.
        reproduce: "mosi" or "mosei" for the table with published rows beside ours.
    """
    entries = sorted((entry_of(run) for run in runs), key=lambda entry: entry.run)
    return {
        "schema": SCHEMA,
        "reproduce": reproduce,
        "metrics": list(metrics),
        "entries": entries_to_json(entries),
        "missing": dict(missing or {}),
    }


def record_of(folders: Iterable[Path], *, metrics: Sequence[str] = (), reproduce: str | None = None) -> dict[str, Any]:
    """`results_record` of every run among and below the folders.

    Raises:
        RunError: a folder is missing, or there is no run in it.
    """
    runs, failed = read_runs(folders)
    missing = {run_label(folder): reason.replace(f"{folder}/", "").replace(f"{folder}: ", "") for folder, reason in failed.items()}
    return results_record(runs, missing, metrics=metrics, reproduce=reproduce)


def render(record: Mapping[str, Any], form: str = "markdown") -> str:
    """The tables of a record, as "markdown" or "csv".

    Raises:
        RunError: the record is of another schema, damaged or edited.
    """
    if record.get("schema") != SCHEMA:
        raise RunError(f"schema: found {record.get('schema')!r}, expected {SCHEMA}; write the record again from the runs")
    tables = tables_of(entries_from_json(record["entries"]))
    if form == "csv":
        return to_csv(tables)
    if record["reproduce"]:
        return reproduction(tables, record["reproduce"], record["metrics"], record["missing"])
    return markdown(tables, record["metrics"], record["missing"])


def read_record(path: Path) -> dict[str, Any]:
    """A record from its file.

    Raises:
        RunError: the file is missing or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing; write it with `dhmd results RUNS --record {path.name}`") from error
    except ValueError as error:
        raise RunError(f"{path}: not JSON ({error}); write the record again from the runs") from error
    if not isinstance(content, dict):
        raise RunError(f"{path}: found a {type(content).__name__}, expected an object; write the record again from the runs")
    return content


def check_table(file: Path, name: str, record: Path | Mapping[str, Any]) -> None:
    """See that the text between a document's markers is what its record gives.

    Raises:
        RunError: a line differs, or the record was edited.
        UsageError: the document lacks the markers.
    """
    content = read_record(record) if isinstance(record, Path) else record
    check_between_markers(file, name, render(content))


def check_runs(record: Mapping[str, Any], runs: Iterable[Run]) -> None:
    """See that a record is of these runs: every entry's SHA-256 is that of a run's metrics.json.

    Raises:
        RunError: an entry fits no run, or a run no entry.
    """
    recorded = {entry["metrics_sha256"]: entry["run"] for entry in record["entries"]}
    there = {run.metrics_sha256: run.name for run in runs}
    for sha, name in {**recorded, **there}.items():
        if sha not in recorded or sha not in there:
            where = "the record but not among the runs" if sha in recorded else "the runs but not in the record"
            raise RunError(f"{name}: metrics.json with SHA-256 {sha[:12]}... is in {where}; write the record again from the runs")


def main(arguments: Sequence[str]) -> int:
    """The command ``dhmd results``: print the tables of runs, and write or check what is committed of them.

    Returns:
        0, or 1 where no run has finished.

    Raises:
        RunError: a folder is missing or holds no run, or a checked table is not what its record gives.
        UsageError: an unknown metric, or options that do not go together.
    """
    options = _parser().parse_args(arguments)
    metrics = [key for key in (options.metrics or "").split(",") if key]
    unknown = [key for key in metrics if key not in LABELS]
    if unknown:
        raise UsageError(f"--metrics: found {', '.join(unknown)}, expected some of {', '.join(LABELS)}")
    if (options.update or options.check) and not (options.record and options.name):
        raise UsageError("--update and --check need --record FILE and --name NAME: which record the table is made of, and its place")
    if options.check:
        if options.folders:
            check_runs(read_record(options.record), read_runs(options.folders)[0])
        check_table(options.check, options.name, options.record)
        print(f"{options.check}: results:{options.name} is what {options.record} gives")
        return 0
    if not options.folders:
        raise UsageError("no folder given; expected run folders or folders of run folders, for example `dhmd results runs`")
    record = record_of(options.folders, metrics=metrics, reproduce=options.reproduce)
    print(render(record, options.format), end="")
    if options.record:
        write_text(options.record, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    if options.update:
        update_between_markers(options.update, options.name, render(record))
    return 0 if record["entries"] else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dhmd results", description="Mean, deviation and interval over the seeds of many runs.")
    parser.add_argument("folders", nargs="*", metavar="RUNS", type=Path, help="run folders, or folders of run folders at any depth")
    parser.add_argument("--metrics", metavar="KEY,KEY", help=f"what to show, of {', '.join(LABELS)}")
    parser.add_argument("--format", choices=("markdown", "csv"), default="markdown", help="default: markdown")
    parser.add_argument("--reproduce", choices=("mosi", "mosei"), help="put the published rows beside ours")
    parser.add_argument("--record", metavar="FILE", type=Path, help="the small file a table is made of: written, or read by --check")
    parser.add_argument("--update", metavar="FILE", type=Path, help="write the table into a document between <!-- results:NAME --> markers")
    parser.add_argument(
        "--check", metavar="FILE", type=Path, help="see that a document's table is what the record (and the runs, if given) say"
    )
    parser.add_argument("--name", help="NAME of the markers")
    return parser
