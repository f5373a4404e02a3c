"""The command ``dhmd analyse``: tables, arrays and figures of a run in one folder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dhmd.analyse.content import Content, arrays, compute, figures
from dhmd.analyse.inputs import gather
from dhmd.analysis.style import save
from dhmd.analysis.table import write_table
from dhmd.errors import UsageError
from dhmd.files import atomic_path, write_text
from dhmd.runs.reader import run_label

SUMMARY = "analysis.json"


@dataclass(frozen=True)
class Analysis:
    """Results of an analysis, and the files they were written to."""

    content: Content
    folder: Path
    files: list[Path]


def analyse(run: Path, output: Path | None = None, data: Path | None = None, split: str = "test", device: str = "cpu") -> Analysis:
    """Analyse a run and write csv tables, arrays.h5, figures as png and svg, and, last, analysis.json.

    Each file is written atomically. Files that only an earlier analysis wrote to the same folder are removed.

    Args:
        run: the run folder, of `dhmd train` (finished) or `dhmd import-dmd`.
        output: the output folder; None for the folder ``analysis`` of the run.
        data: another data file of the same kind; None for the run's own.
        split: valid or test.
        device: device to compute on, as torch names it.

    Raises:
        RunError: the folder holds no finished or imported run, the data does not fit it, or a value is NaN or infinite.
        DataError: the data is missing or wrong.
        UsageError: an unknown split or device, an imported run without data, or a folder that cannot be written.
    """
    folder = run / "analysis" if output is None else output
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file, expected a folder; choose another with -o")
    content = compute(gather(run, data, split, device))
    try:
        files = _write(content, folder, run_label(run))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror or error}); choose another folder with -o") from error
    return Analysis(content, folder, files)


def _write(content: Content, folder: Path, run: str) -> list[Path]:
    before = _files_before(folder)
    (folder / SUMMARY).unlink(missing_ok=True)  # until it is written again, the folder holds no complete analysis
    files = []
    for name, rows in content.tables.items():
        write_table(rows, folder / f"{name}.csv")
        files.append(folder / f"{name}.csv")
    _write_arrays(arrays(content), folder / "arrays.h5")
    files.append(folder / "arrays.h5")
    for name, figure in figures(content):
        files += save(figure, folder, name)
    for name in before - {file.name for file in files}:
        (folder / name).unlink(missing_ok=True)
    found = content.analysed
    summary = {
        "run": run,
        "title": found.title,
        "split": found.split,
        "synthetic": found.synthetic,
        "source": found.source,
        "samples": len(found.record.ids),
        "absent": dict(content.absent),
        "files": [file.name for file in files],
    }
    write_text(folder / SUMMARY, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
    return [*files, folder / SUMMARY]


def _write_arrays(named: Mapping[str, Any], path: Path) -> None:
    with atomic_path(path) as part, h5py.File(part, "w") as file:
        for name, values in named.items():
            if isinstance(values, list):
                file[name] = np.array(values, dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=values, compression="gzip")


def _files_before(folder: Path) -> set[str]:
    """Return the names that an earlier analysis.json lists, restricted to files in the folder itself."""
    try:
        listed: Iterable[Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))["files"]
        return {name for name in listed if isinstance(name, str) and Path(name).name == name}
    except (OSError, ValueError, KeyError, TypeError):
        return set()
