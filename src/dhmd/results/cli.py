"""The command ``dhmd results``: print the tables of runs, and write or check committed tables."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dhmd.errors import UsageError
from dhmd.evaluation.metrics import LABELS
from dhmd.files import write_text
from dhmd.results.markers import update_between_markers
from dhmd.results.record import FORMATS, INTERVALS, check_runs, check_table, read_record, record_of, render
from dhmd.runs.reader import read_runs

Unfinished = Callable[[Sequence[Path]], Mapping[Path, str]]
_OF_RUNS = ("metrics", "reference", "interval", "reproduce")


def main(arguments: Sequence[str], unfinished: Unfinished = lambda _: {}) -> int:
    """Print the tables of runs, or of a record, and write or check committed tables.

    Args:
        arguments: arguments of the command.
        unfinished: function from folders to the unfinished run folders at and below them, by resolved path, and their states.

    Returns:
        0, or 1 if no run has finished.

    Raises:
        RunError: a folder is missing or holds no run, or a checked table disagrees with its record.
        UsageError: a metric or the reference is unknown, or options contradict each other.
    """
    options = parser().parse_args(arguments)
    metrics = [key for key in (options.metrics or "").split(",") if key]
    unknown = [key for key in metrics if key not in LABELS]
    if unknown:
        raise UsageError(f"--metrics: found {', '.join(unknown)}, expected some of {', '.join(LABELS)}")
    if (options.update or options.check) and not (options.record and options.name):
        raise UsageError("--update and --check need --record FILE and --name NAME: which record the table is made of, and its place")
    if not options.folders and not options.record:
        raise UsageError(
            "no folder given; expected run folders or folders of run folders, for example `dhmd results runs`, or --record FILE"
        )
    fixed = [f"--{name}" for name in _OF_RUNS if getattr(options, name) is not None]
    if fixed and (options.check or not options.folders):
        raise UsageError(
            f"{', '.join(fixed)}: a record says by itself what it shows; to change it, write it again: give RUNS without --check"
        )
    if options.check:
        if options.folders:
            check_runs(read_record(options.record), read_runs(options.folders)[0])
        check_table(options.check, options.name, options.record)
        print(f"{options.check}: results:{options.name} is what {options.record} gives")
        return 0
    if options.folders:
        record = record_of(
            options.folders,
            metrics=metrics,
            reproduce=options.reproduce,
            reference=options.reference or "",
            interval=options.interval or "t",
            unfinished=unfinished(options.folders),
        )
    else:
        record = read_record(options.record)
    print(render(record, options.format), end="")
    if options.record and options.folders:
        write_text(options.record, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    if options.update:
        update_between_markers(options.update, options.name, render(record))
    return 0 if record["entries"] else 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    found = argparse.ArgumentParser("dhmd results", description="Means over seeds with intervals, and tested differences to a reference.")
    found.add_argument("folders", nargs="*", metavar="RUNS", type=Path, help="run folders, or folders of run folders at any depth")
    found.add_argument("--metrics", metavar="KEY,KEY", help=f"what to show, of {', '.join(LABELS)}")
    found.add_argument(
        "--reference",
        metavar="ROW",
        help="compare every other row with this one: its model, ablation (full: without one) or text encoder, joined by commas; "
        "none: compare nothing (default: each ablation with the row of its model without one)",
    )
    found.add_argument(
        "--interval", choices=INTERVALS, help="of the means: Student's t over seeds (default), or bootstrap over seeds and videos"
    )
    found.add_argument("--format", choices=FORMATS, default="markdown", help="default: markdown")
    found.add_argument("--reproduce", choices=("mosi", "mosei"), help="put the published rows beside ours")
    found.add_argument(
        "--record", metavar="FILE", type=Path, help="the small file a table is made of: written from RUNS, or read where there are none"
    )
    found.add_argument("--update", metavar="FILE", type=Path, help="write the table into a document between <!-- results:NAME --> markers")
    found.add_argument(
        "--check", metavar="FILE", type=Path, help="see that a document's table is what the record (and the runs, if given) say"
    )
    found.add_argument("--name", help="NAME of the markers")
    return found
