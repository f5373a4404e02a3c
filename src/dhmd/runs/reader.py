"""Reading finished runs, the record that every table and figure is made of."""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dhmd.errors import RunError
from dhmd.runs.arrays import Record, read_record
from dhmd.runs.folder import AGAIN, SCHEMA, RunFolder

Array = NDArray[Any]
_METRICS_FIELDS: dict[str, type] = {
    "task": str,
    "seed": int,
    "model": str,
    "data": str,
    "synthetic": bool,
    "parameters": int,
    "selection": dict,
    "validation": list,
    "test": dict,
}


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        path: its folder.
        config: the resolved configuration, in today's form, with paths of the folder where it is now.
        metrics: metrics.json; without "test" where the test split was not read.
        description: data.json, what the data was.
        metrics_sha256: of the bytes of metrics.json.
    """

    path: Path
    config: Mapping[str, Any]
    metrics: Mapping[str, Any]
    description: Mapping[str, Any]
    metrics_sha256: str

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def test(self) -> dict[str, float]:
        """Test metrics by key; shares are fractions. Empty where the test split was not read."""
        return {key: float(value) for key, value in self.metrics.get("test", {}).items()}

    def record(self) -> Record:
        """The arrays of record.h5.

        Raises:
            RunError: the file is missing, damaged or lacks the test set.
        """
        return read_record(RunFolder(self.path).record_file)

    def history(self) -> dict[str, Array]:
        """The columns of history.csv, one value an epoch; an empty cell is NaN.

        Raises:
            RunError: the file is missing, empty, damaged or without the column epoch.
        """
        file = RunFolder(self.path).history_file
        columns = read_table(file)
        if "epoch" not in columns:
            raise RunError(f"{file}: found the columns {list(columns)[:5]}..., expected epoch; {AGAIN}")
        return {name: _numbers(file, name, column) for name, column in columns.items()}

    def predictions(self) -> dict[str, list[str]]:
        """The columns of predictions.csv as text.

        Raises:
            RunError: the file is missing, empty or damaged.
        """
        return read_table(RunFolder(self.path).predictions_file)

    def environment(self) -> dict[str, Any]:
        """Content of environment.json; empty if there is none.

        Raises:
            RunError: the file is damaged.
        """
        return RunFolder(self.path).environment()


def read_run(folder: Path, *, finished: bool = True, tested: bool = True) -> Run:
    """Read the small files of a run folder; its arrays are read when asked for.

    Args:
        folder: the run folder.
        finished: whether the run must have ended; its figures are drawn just before it does.
        tested: whether its test split must have been read; that of a search's trial is not.

    Raises:
        RunError: it is no run folder, the run has not finished or was not tested, or a file is missing or damaged.
    """
    if not folder.is_dir():
        raise RunError(f"{folder}: no such run folder; expected a folder written by `dhmd train`")
    if not is_run(folder):
        raise RunError(f"{folder}: no run folder: neither config.yaml nor metrics.json; expected a folder written by `dhmd train`")
    run = RunFolder(folder)
    if run.imported:
        raise RunError(f"{folder}: an imported checkpoint, not trained here: no record; use `dhmd evaluate`, `predict` and `analyse`")
    if finished and not run.finished:
        raise RunError(f"{folder}: the run has not finished (no DONE); continue it with `dhmd train resume={folder}`")
    if not run.started:
        raise RunError(f"{run.config_file}: missing; {AGAIN}")
    metrics, config = run.metrics(), run.config()
    untested = config.get("evaluate_test") is False
    _check_metrics(run.metrics_file, metrics, without=("test",) if untested else ())
    if untested and tested:
        raise RunError(f"{folder}: not tested: trained with evaluate_test=false, as a search trains its trials; `dhmd show` has validation")
    return Run(
        path=folder,
        config=config,
        metrics=metrics,
        description=run.description(),
        metrics_sha256=hashlib.sha256(run.metrics_file.read_bytes()).hexdigest(),
    )


def model_name(model: str, ablation: str | None) -> str:
    """Return the name of the trained network for titles: the preset, and the ablation if there is one."""
    return f"{model} (ablation {ablation})" if ablation and ablation != "full" else model


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run folder, finished or not."""
    run = RunFolder(folder)
    return run.config_file.is_file() or run.metrics_file.is_file()


def run_label(folder: Path) -> str:
    """A short name of a run folder that says nothing about the machine: its last two parts."""
    return "/".join(folder.resolve().parts[-2:])


def find_runs(folders: Iterable[Path]) -> list[Path]:
    """The run folders among and below the given folders, sorted, each once.

    Raises:
        RunError: a given folder is missing, or there is no run in it.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise RunError(f"{folder}: no such folder; expected a run folder or a folder of run folders")
        runs = [folder] if is_run(folder) else _below(folder)
        if not runs:
            raise RunError(f"{folder}: no run in it; expected a run folder (with config.yaml) or a folder of run folders")
        found.update({run.resolve(): run for run in runs})
    return sorted(found.values())


def read_runs(folders: Iterable[Path]) -> tuple[list[Run], dict[Path, str]]:
    """Every run among and below the given folders: the finished ones, and why each of the others could not be read.

    Raises:
        RunError: a given folder is missing, or there is no run in it.
    """
    runs, failed = [], {}
    for folder in find_runs(folders):
        try:
            runs.append(read_run(folder))
        except RunError as error:
            failed[folder] = str(error)
    return runs, failed


def read_table(path: Path) -> dict[str, list[str]]:
    """The columns of a csv file with a header, as text.

    Raises:
        RunError: the file is missing, has no row, or rows of differing lengths.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError as error:
        raise RunError(f"{path}: missing; {AGAIN}") from error
    except (ValueError, csv.Error) as error:
        raise RunError(f"{path}: damaged or empty ({error}); {AGAIN}") from error
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise RunError(f"{path}: line {number}: found {len(row)} cells, expected {len(header)}; {AGAIN}")
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def _below(folder: Path) -> list[Path]:
    """Run folders below, without looking inside one."""
    runs: list[Path] = []
    for child in sorted(folder.iterdir()):
        if child.is_dir() and not child.is_symlink():
            runs += [child] if is_run(child) else _below(child)
    return runs


def _numbers(path: Path, name: str, column: list[str]) -> Array:
    try:
        return np.array([float(x) if x else np.nan for x in column])
    except ValueError as error:
        raise RunError(f"{path}: column {name}: {error}; {AGAIN}") from error


def _check_metrics(path: Path, metrics: Mapping[str, Any], without: Collection[str] = ()) -> None:
    if metrics.get("schema") != SCHEMA:
        raise RunError(f"{path}: schema: found {metrics.get('schema')!r}, expected {SCHEMA}; this version of dhmd reads no other")
    for key, kind in _METRICS_FIELDS.items():
        if key not in without and not isinstance(metrics.get(key), kind):
            raise RunError(f"{path}: {key}: found {metrics.get(key)!r}, expected {kind.__name__}; {AGAIN}")
    for key, value in metrics.get("test", {}).items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise RunError(f"{path}: test.{key}: found {value!r}, expected a finite number; {AGAIN}")
