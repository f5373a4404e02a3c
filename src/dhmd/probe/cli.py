"""The command ``dhmd probe``: the planted truth that networks learned from the embedded corpus."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dhmd.data.progress import progress
from dhmd.errors import RunError, UsageError
from dhmd.files import write_text
from dhmd.probe.figures import draw
from dhmd.probe.groups import grouped
from dhmd.probe.measure import Measured, measure
from dhmd.probe.questions import ask
from dhmd.probe.record import check_runs, read_probe_record, write_probe_record
from dhmd.probe.tables import markdown, to_csv
from dhmd.probe.truth import Planted, options_of, plant, task_of
from dhmd.results.markers import between_markers, check_between_markers, update_between_markers
from dhmd.runs.reader import read_runs, run_label

RECORD = "probe.json"
QUESTIONS = ("readability", "edges", "heads", "activations", "stages")


def measure_runs(folders: Sequence[Path]) -> tuple[list[Measured], dict[str, str]]:
    """Return the numbers of every finished run among and below the folders, and the reason why each other run has none.

    Raises:
        RunError: a folder is missing or holds no run, no run has finished, or one was not trained on the embedded corpus.
        DataError: the corpus cannot be written to the cache.
    """
    runs, failed = read_runs(folders)
    missing = {run_label(folder): reason for folder, reason in failed.items()}
    if not runs:
        raise RunError("no finished run:\n" + "\n".join(f"  {name}: {reason}" for name, reason in missing.items()))
    options = [options_of(run) for run in runs]  # all folders are checked before the first run is measured
    planted: dict[str, Planted] = {}
    measured = []
    with progress("probing", len(runs), "runs") as advance, _no_warnings():
        for run, corpus in zip(runs, options, strict=True):
            key = f"{task_of(run)} {corpus}"
            if key not in planted:
                planted[key] = plant(corpus, task_of(run))
            measured.append(measure(run, corpus, planted[key]))
            advance(1)
    return measured, missing


def tables_of(measured: Sequence[Measured]) -> dict[str, str]:
    """Return the markdown tables of every question, by name.

    Raises:
        RunError: there is no run.
    """
    if not measured:
        raise RunError("the record has no run; write it again with `dhmd probe RUNS --record FILE`")
    groups = grouped(measured)
    return {name: markdown(answer, groups) for name, answer in ask(groups).items()}


def write_answers(measured: Sequence[Measured], folder: Path) -> None:
    """Write the record, a csv file for each question, and the figures.

    Raises:
        OSError: the folder cannot be written.
    """
    groups = grouped(measured)
    answers = ask(groups)
    write_probe_record(folder / RECORD, measured)
    for name, answer in answers.items():
        write_text(folder / f"{name}.csv", to_csv(answer))
    draw(answers, groups, folder)


def check_document(document: Path, measured: Sequence[Measured]) -> list[str]:
    """Check the tables between a document's markers against the numbers, and return the names of its tables.

    Raises:
        RunError: a line differs.
        UsageError: the document is missing, or has no marker of a question.
    """
    names = _marked(document)
    for name, text in tables_of(measured).items():
        if name in names:
            check_between_markers(document, name, text, "probe")
    return names


def probe(
    runs: Sequence[Path] = (),
    output: Path | None = None,
    record: Path | None = None,
    update: Path | None = None,
    check: Path | None = None,
) -> None:
    """Print the answers for runs, or for a record of runs, and write the requested files.

    Args:
        runs: run folders, or folders of run folders.
        output: folder for csv files, figures and the record.
        record: file of the runs' numbers, which is written, or read if no run is given.
        update: document to write the tables into, between its markers.
        check: document whose tables must agree with ``record``; nothing is measured then.

    Raises:
        UsageError: options contradict each other, a document has no markers, or a path cannot be written.
        RunError: see `measure_runs` and `check_document`.
    """
    if check is not None:
        if record is None:
            raise UsageError("--check needs --record FILE: what the tables of the document are made of")
        measured = read_probe_record(record)
        if runs:
            check_runs(measured, read_runs(runs)[0])
        print(f"{check}: {', '.join(check_document(check, measured))}: what {record} gives")
        return
    if not runs and record is None:
        raise UsageError("no run given; expected run folders or folders of run folders, for example `dhmd probe runs -o probe`")
    names = [] if update is None else _marked(update)  # broken markers are refused before any work
    measured, missing = measure_runs(runs) if runs or record is None else (read_probe_record(record), {})
    tables = tables_of(measured)
    for name, text in tables.items():
        print(f"## {name}\n\n{text}")
    for run, reason in missing.items():
        print(f"Not among them: {run}: {reason}")
    try:
        if runs and record is not None:
            write_probe_record(record, measured)
        if output is not None:
            write_answers(measured, output)
            print(f"tables, figures and {RECORD}: {output}")
    except OSError as error:
        raise UsageError(f"{error.filename or output}: cannot be written ({error.strerror}); choose another place") from error
    if update is not None:
        for name in names:
            update_between_markers(update, name, tables[name], "probe")


@contextmanager
def _no_warnings() -> Iterator[None]:
    """Silence the corpus's warnings (about the -inf planted in its audio), which were shown when the runs were trained."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _marked(document: Path) -> list[str]:
    """Return the questions whose markers a document holds."""
    text = document.read_text(encoding="utf-8") if document.is_file() else ""
    names = [name for name in QUESTIONS if f"<!-- probe:{name} -->" in text]
    if not names:
        raise UsageError(f"{document}: expected a document with one of {', '.join(f'<!-- probe:{name} -->' for name in QUESTIONS)}")
    for name in names:
        between_markers(document, name, "probe")
    return names
