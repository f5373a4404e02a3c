"""Cost of data: the share of a step that waits for its batch, and memory and time of converting a pickle."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.cases import BATCH, CASES, DIMS, MODALITY, Case, Step
from benchmarks.clock import interleaved
from benchmarks.peak import peak_of
from benchmarks.sections import steps
from benchmarks.settings import Settings
from dhmd.batch import FeatureBatch
from dhmd.data.convert import open_or_convert
from dhmd.data.module import FeatureDataModule
from dhmd.data.synthetic.files import write_pickle, write_synthetic_store
from dhmd.data.synthetic.options import SyntheticOptions

PLACES = {"in memory": True, "from HDF5": False}
MOSEI = {"language": 768, "vision": 35, "acoustic": 74}
AT_MOST = 0.05
TITLE = "Data"


def prepared(pickle: str) -> Step:
    """Return the work of a process of its own, for `benchmarks.peak`."""
    return lambda: open_or_convert(pickle)


def measure(settings: Settings) -> dict[str, Any]:
    """Return seconds of a batch and a step by case, storage and device; memory of converting."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    with tempfile.TemporaryDirectory() as folder:
        rows = [_batches(steps.case(name, settings.quick), device, Path(folder), settings) for device in devices for name in CASES]
        return {"rows": rows, "converting": _converting(Path(folder) / "features.pkl", settings)}


def tables(found: dict[str, Any]) -> str:
    """Return a row for each case, device and storage, and a sentence on converting."""
    lines = [f"| | frames | a batch | a training step | **share** (wanted: under {AT_MOST:.0%}) |", "| --- | --- | --- | --- | --- |"]
    for row in found["rows"]:
        step = median(row["seconds"]["step"])
        for place in PLACES:
            batch = median(row["seconds"][place])
            what = f"{place}, {row['case']}{' on the GPU' if row['device'] == 'cuda' else ''}"
            lines.append(f"| {what} | {row['frames']} | {batch * 1000:.2f} ms | {step * 1000:.1f} ms | **{batch / step:.2%}** |")
    c = found["converting"]
    lines += [
        "",
        f"Converting a pickle of {c['file_gb']:.2f} GB took {c['seconds']:.1f} s, a process's start included, and "
        f"{c['peak_gb'] - c['before_gb']:.2f} GB of memory on top of the {c['before_gb']:.2f} GB of a process that has torch imported: "
        f"**{(c['peak_gb'] - c['before_gb']) / c['largest_gb']:.2f}** of the largest array, {c['largest_gb']:.2f} GB.",
    ]
    return "\n".join(lines)


def _batches(case: Case, device: str, folder: Path, settings: Settings) -> dict[str, Any]:
    store = folder / f"{case.name}.dhmd.h5"
    if not store.exists():
        further = {MODALITY[x]: n for x, n in case.lengths.items() if x != "l"}
        dims = {MODALITY[x]: DIMS[x] for x in ("l", "v", "a")}
        aligned = len(set(case.lengths.values())) == 1
        write_synthetic_store(store, SyntheticOptions(BATCH * 20, BATCH, BATCH, case.lengths["l"], aligned, dims, further))
    work: dict[str, Callable[[], object]] = {place: _next_of(store, held) for place, held in PLACES.items()}
    work["step"] = _finished(steps.one(case, "suite", "training step", "the authors'", device))
    return {"case": case.name, "frames": case.frames, "device": device, "seconds": interleaved(work, settings.repeats)}


def _next_of(store: Path, in_memory: bool) -> Callable[[], FeatureBatch]:
    """Return a function that reads a training batch at every call, epoch after epoch."""
    logging.getLogger("dhmd.data").setLevel(logging.ERROR)  # it warns of the corpus's infinite values
    data = FeatureDataModule(path=store, in_memory=in_memory, batch_size=BATCH, non_finite="zero")
    data.prepare_data()
    data.setup()

    def batches() -> Iterator[FeatureBatch]:
        while True:
            yield from data.train_dataloader()

    return batches().__next__


def _finished(step: Step) -> Step:
    """Return the step followed by a wait for the GPU, if there is one."""

    def work() -> None:
        step()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return work


def _converting(pickle: Path, settings: Settings) -> dict[str, float]:
    n = 40 if settings.quick else 2400
    write_pickle(pickle, SyntheticOptions(n, n // 8, n // 4, 50, dims=MOSEI))
    start = time.perf_counter()
    memory = peak_of(__name__, str(pickle))
    return {
        **memory,
        "seconds": time.perf_counter() - start,
        "file_gb": pickle.stat().st_size / 1e9,
        "largest_gb": n * 50 * MOSEI["language"] * 4 / 1e9,
    }
