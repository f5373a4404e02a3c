"""Reproduction of DMD, DHMD and DHMD's ablations over seeds on published data, with a table and a page: ``make reproduce-mosi``."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from dhmd.config import conf_dir
from dhmd.data.catalog import PublishedFile, identify, published_files
from dhmd.data.checks import check_alignment
from dhmd.data.convert import open_or_convert
from dhmd.data.store.reader import Store
from dhmd.errors import RunError, UsageError
from dhmd.report.command import report
from dhmd.results.record import record_of, render
from dhmd.sweeps.folder import State, jobs_of
from dhmd.sweeps.naming import quoted
from dhmd.sweeps.unfinished import unfinished

FIRST_SEED = 1111
"""The first seed of the DMD authors' list."""
REFERENCE = "dhmd,full"
log = logging.getLogger(__name__)


def reproduce(
    dataset: str, data: Sequence[str], seeds: int, gpus: int, runs: Path, study: str = "kd_stages", overrides: Sequence[str] = ()
) -> str:
    """Train the runs that are missing, then return the tables beside the published rows and write the page about all runs.

    Each file gets two sweeps: DMD over the seeds, and the study on DHMD. The same command, given again, continues them.

    Args:
        dataset: mosi or mosei.
        data: the pickles, one aligned, one unaligned, or both; their alignment is read from the files.
        seeds: number of seeds, from 1111 on.
        gpus: number of runs at once, each on its own GPU; 0 for one run at a time on the CPU.
        runs: sweeps go to ``runs``/<dataset>/<aligned or unaligned>/, the page to ``runs``/<dataset>/report.html.
        study: a file of conf/sweep, run on DHMD.
        overrides: further overrides for every run.

    Returns:
        The tables, and a line about the page.

    Raises:
        UsageError: no file is given or one is not there, two are of one kind, or an option is out of range or refused by the trainings.
        DataError: a file cannot be read.
        RunError: a training failed; the others are done, and tables and page made.
    """
    if seeds < 1 or gpus < 0:
        raise UsageError(f"found seeds={seeds} and gpus={gpus}; expected at least one seed and no negative number of GPUs")
    if study not in (studies := sorted(file.stem for file in (conf_dir() / "sweep").glob("*.yaml"))):
        raise UsageError(f"--study: found {study!r}; expected one of {', '.join(studies)}")
    root = runs / dataset
    sweeps = []
    for kind, path in _by_kind(_files(dataset, data)).items():
        for model, sweep in (("dmd", "seeds"), ("dhmd", study)):
            folder = (root / kind / f"{model}_{sweep}").absolute()
            what = [f"sweep={sweep}", f"experiment=repro/{model}_{dataset}_{kind}", f"seed=range({FIRST_SEED},{FIRST_SEED + seeds})"]
            print(f"{folder}: {' '.join(what)}", flush=True)
            where = [f"data.path={quoted(path)}", f"hydra.sweep.dir={quoted(folder)}"]
            status = _call([sys.executable, "-m", "dhmd.cli", "train", "-m", *what, *where, *_launcher(gpus), *overrides])
            if status == UsageError.exit_status:
                raise UsageError("a sweep was refused, as all others would be; see the message above")
            sweeps.append(folder)
    open_jobs = [f"{folder.parent.name}/{folder.name}/{name}" for folder in sweeps for name in _unfinished_jobs(folder)]
    if not any(root.rglob("DONE")):
        raise RunError(f"no training finished; see job.log in the folders below {root}, then run the same command again")
    return _results(dataset, root, open_jobs)


def _results(dataset: str, root: Path, open_jobs: Sequence[str]) -> str:
    absent = unfinished([root])
    try:
        record = record_of([root], reproduce=dataset, reference=REFERENCE, unfinished=absent)
    except UsageError:  # no DHMD run has finished
        record = record_of([root], reproduce=dataset, unfinished=absent)
    tables = f"{render(record)}\n{report(root, root / 'report.html', unfinished=unfinished)}"
    if open_jobs:
        jobs = f"{len(open_jobs)} training{'s' if len(open_jobs) > 1 else ''} did not finish"
        raise RunError(f"{tables}\n{jobs}: {', '.join(open_jobs)}; see job.log in {root}, then run the same command again")
    return tables


def _unfinished_jobs(folder: Path) -> list[str]:
    return [job.name for job in jobs_of(folder) if job.state is not State.FINISHED] if folder.exists() else ["all"]


def _files(dataset: str, data: Sequence[str]) -> list[Path]:
    given = [Path(path) for path in data if path]
    absent = [path for path in given if not path.is_file()]
    if given and not absent:
        return [path.resolve() for path in given]
    found = f"{absent[0]}: no such file" if absent else "no file was given"
    wanted: list[PublishedFile] = [f for name, f in published_files().items() if name.startswith(f"{dataset}_")]
    lines = [f"reproducing {dataset} needs a published feature file; {found}", "wanted is one of, or both:"]
    lines += [f"  {f.file}\n    SHA-256 {f.sha256}" for f in wanted]
    lines += [
        f"give it: make reproduce-{dataset} {dataset.upper()}=path/to/file.pkl",
        "without one: make demo trains on the embedded synthetic corpus",
    ]
    raise UsageError("\n".join(lines))


def _by_kind(files: Sequence[Path]) -> dict[str, Path]:
    """Return the files by kind, aligned or unaligned.

    Raises:
        UsageError: two files are of one kind.
    """
    found: dict[str, Path] = {}
    for path in files:
        store = Store(open_or_convert(path))
        if identify(store.source_sha256) is None:
            log.warning("%s is none of the published files: its numbers cannot be compared with the papers'", path)
        kind = "aligned" if check_alignment(store, path, None) else "unaligned"
        if kind in found:
            raise UsageError(f"found two {kind} files, {found[kind]} and {path}; expected one aligned and one unaligned at most")
        found[kind] = path
    return found


def _launcher(gpus: int) -> list[str]:
    """Return overrides for one process a job, ``gpus`` jobs at once, each on one of the visible GPUs."""
    if not gpus:
        return ["trainer.accelerator=cpu", "launcher=process"]
    visible = [device for device in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if device] or [str(i) for i in range(gpus)]
    return ["trainer.accelerator=gpu", "launcher=process", f"hydra.launcher.n={gpus}", f"hydra.launcher.gpus=[{','.join(visible[:gpus])}]"]


def _call(command: Sequence[str]) -> int:
    return subprocess.run(command, check=False).returncode  # noqa: S603
