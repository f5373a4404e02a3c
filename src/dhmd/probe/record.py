"""The record of a probe: every run's numbers, from which all tables and figures can be made again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from dhmd.errors import RunError
from dhmd.files import json_sha256, read_object, write_text
from dhmd.probe.measure import Measured, nested
from dhmd.runs.identity import flattened
from dhmd.runs.reader import Run, run_label

SCHEMA = 1
_AGAIN = "write the record again with `dhmd probe RUNS --record FILE`"


def write_probe_record(path: Path, measured: Iterable[Measured]) -> None:
    """Write the numbers of the runs as JSON, one line a run, each with the SHA-256 of its content as "digest".

    Raises:
        OSError: the folder cannot be written.
    """
    lines = []
    for one in sorted(measured, key=lambda m: m.run):
        plain = {**asdict(one), "values": nested(one.values)}
        lines.append(json.dumps({**plain, "digest": json_sha256(plain)}, ensure_ascii=False, separators=(",", ":")))
    write_text(path, f'{{"schema": {SCHEMA}, "synthetic": true, "runs": [\n' + ",\n".join(lines) + "\n]}\n")


def read_probe_record(path: Path) -> list[Measured]:
    """Return the numbers that `write_probe_record` wrote.

    Raises:
        RunError: the file is missing, damaged, of another schema, or a run in it was edited.
    """
    content = read_object(path, _AGAIN, _AGAIN)
    if content.get("schema") != SCHEMA:
        raise RunError(f"{path}: schema: found {content.get('schema')!r}, expected {SCHEMA}; {_AGAIN}")
    names = {field.name for field in fields(Measured)}
    measured = []
    for number, item in enumerate(content["runs"]):
        plain = {key: value for key, value in item.items() if key != "digest"}
        if set(plain) != names:
            raise RunError(f"{path}: run {number}: found the fields {sorted(plain)}, expected {sorted(names)}; {_AGAIN}")
        if json_sha256(plain) != item.get("digest"):
            raise RunError(f"{path}: run {number} ({plain['run']}): does not fit its digest: it was edited; {_AGAIN}")
        measured.append(Measured(**{**plain, "values": flattened(plain["values"], "/")}))
    return measured


def check_runs(measured: Sequence[Measured], runs: Iterable[Run]) -> None:
    """Check that a record belongs to these runs: the SHA-256 of every metrics.json is in both.

    Raises:
        RunError: the record has a run that does not exist, or lacks one.
    """
    recorded = {one.metrics_sha256: one.run for one in measured}
    there = {run.metrics_sha256: run_label(run.path) for run in runs}
    for sha, name in {**recorded, **there}.items():
        if sha not in recorded or sha not in there:
            where = "the record but not among the runs" if sha in recorded else "the runs but not in the record"
            raise RunError(f"{name}: metrics.json with SHA-256 {sha[:12]}... is in {where}; {_AGAIN}")
