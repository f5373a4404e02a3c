"""DMD and DHMD over several seeds on a published data set, ending in the table; what ``make reproduce-mosi`` runs."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event

from dhmd.data.catalog import PublishedFile, identify, published_files
from dhmd.data.convert import open_or_convert
from dhmd.data.store import Store
from dhmd.errors import RunError, UsageError
from dhmd.evaluation.results import record_of, render
from dhmd.training.record import RunFolder

MODELS = ("dmd", "dhmd")
FIRST_SEED = 1111
"""The DMD authors' list begins with it."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One training: its folder and its overrides of ``dhmd train``."""

    folder: RunFolder
    overrides: tuple[str, ...]


def reproduce(dataset: str, data: str | None, seeds: int, gpus: int, runs: Path, overrides: Sequence[str] = ()) -> str:
    """Train what is not trained yet, then give the table: ours with mean and deviation, the published rows beside.

    Args:
        dataset: mosi or mosei.
        data: the pickle; aligned or unaligned is found out from it.
        seeds: how many, from 1111 on.
        gpus: so many runs at once, a GPU each; 0: one run at a time on the CPU.
        runs: run folders go to ``runs``/<data>/<model>_seed<seed>; finished ones are kept, unfinished ones continued.
        overrides: further overrides for every run.

    Raises:
        UsageError: no file is given or it is not there.
        DataError: the file cannot be read.
        RunError: a training failed; the others are done.
    """
    path = _file(dataset, data)
    if seeds < 1 or gpus < 0:
        raise UsageError(f"found seeds={seeds} and gpus={gpus}; expected at least one seed and no negative number of GPUs")
    store = Store(open_or_convert(path))
    if identify(store.source_sha256) is None:
        log.warning("%s is none of the published files: its numbers cannot be compared with the papers'", path)
    name = f"{dataset}_{'aligned' if len(set(store.lengths.values())) == 1 else 'unaligned'}"
    root = runs / name
    jobs = [
        Job(
            RunFolder(root / f"{model}_seed{seed}"), (f"experiment=repro/{model}_{name}", f"seed={seed}", f"data.path='{path}'", *overrides)
        )
        for seed in range(FIRST_SEED, FIRST_SEED + seeds)
        for model in MODELS
    ]
    failed = _run_all([job for job in jobs if not job.folder.finished], gpus)
    table = render(record_of([job.folder.path for job in jobs if job.folder.started], reproduce=dataset)) if len(failed) < len(jobs) else ""
    if failed:
        names = ", ".join(job.folder.path.name for job in failed)
        raise RunError(
            f"{table}\n{len(failed)} of {len(jobs)} trainings failed: {names}; see train.log in {root}, then run the same command again"
        )
    return table


def _file(dataset: str, data: str | None) -> Path:
    if data and Path(data).is_file():
        return Path(data).resolve()
    found = f"{data}: no such file" if data else "no file was given"
    wanted: list[PublishedFile] = [f for name, f in published_files().items() if name.startswith(f"{dataset}_")]
    lines = [f"reproducing {dataset} needs a published feature file; {found}", "wanted is one of:"]
    lines += [f"  {f.file}\n    SHA-256 {f.sha256}" for f in wanted]
    lines += [
        f"give it: make reproduce-{dataset} {dataset.upper()}=path/to/file.pkl",
        "without one: make demo trains on the embedded synthetic corpus",
    ]
    raise UsageError("\n".join(lines))


def _run_all(jobs: Sequence[Job], gpus: int) -> list[Job]:
    """Run the jobs, at most one a GPU at a time; the failed ones come back.

    Raises:
        UsageError: a job was refused as wrong usage: all others would be.
    """
    free: SimpleQueue[int | None] = SimpleQueue()
    for device in range(gpus) if gpus else [None]:
        free.put(device)
    refused = Event()

    def run(job: Job) -> int:
        device = free.get()
        try:
            status = UsageError.exit_status if refused.is_set() else _run(job, device)
        finally:
            free.put(device)
        if status == UsageError.exit_status:
            refused.set()
        return status

    with ThreadPoolExecutor(max(gpus, 1)) as pool:
        statuses = list(pool.map(run, jobs))
    if refused.is_set():
        raise UsageError("a training was refused, as all others would be; see the message above")
    return [job for job, status in zip(jobs, statuses, strict=True) if status]


def _run(job: Job, device: int | None) -> int:
    """One training in a process of its own; its exit status."""
    command = [sys.executable, "-m", "dhmd.cli", "train", *job.overrides, f"hydra.run.dir='{job.folder.path}'", "resume=true"]
    environment = dict(os.environ)
    if device is None:
        command.append("trainer.accelerator=cpu")
    else:
        command.append("trainer.accelerator=gpu")
        visible = environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if environment.get("CUDA_VISIBLE_DEVICES") else []
        environment["CUDA_VISIBLE_DEVICES"] = visible[device] if device < len(visible) else str(device)
    print(f"training {job.folder.path.name}{'' if device is None else f' on GPU {device}'}", flush=True)
    return _call(command, environment)


def _call(command: Sequence[str], environment: dict[str, str]) -> int:
    return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603
