"""Arrays that an analysis reads: from the record of a run, or collected anew with its network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dhmd.analysis.figures import run_title
from dhmd.batch import Task
from dhmd.errors import RunError, UsageError
from dhmd.runs.arrays import Array, Record
from dhmd.runs.folder import RunFolder
from dhmd.runs.reader import Run, model_name, read_run
from dhmd.training.build import whole_split
from dhmd.training.inference import Predictions, predict_split
from dhmd.training.load import load_run, usable_device

IMPORTED = "the run was imported: nothing was trained here"
OLDER = "record.h5 holds none: the run was made by an older version of dhmd; train it again"


@dataclass(frozen=True)
class Analysed:
    """A split as a run's network sees it, and the run's record of its training.

    Attributes:
        record: the arrays; arrays by sample belong to ``split``, arrays by epoch to the validation split.
        task: the kind of label.
        split: valid or test.
        title: model and ablation, data (labelled as synthetic if it is), seed and split.
        source: origin of the arrays by sample.
        synthetic: whether the data is generated.
        epochs: (epochs,) numbers of the epochs; None for an imported run.
        kept: the epoch whose weights were kept; None for an imported run.
        missing: the reason why arrays by epoch are missing, if they are.
    """

    record: Record
    task: Task
    split: str
    title: str
    source: str
    synthetic: bool
    epochs: Array | None
    kept: int | None
    missing: str


def gather(path: Path, data: Path | None = None, split: str = "test", device: str = "cpu") -> Analysed:
    """Return the arrays of a run that an analysis reads.

    A finished run's own test split is read from its record.h5: neither its data nor its network is needed. Other data, the validation split
    and imported runs go through the network.

    Args:
        path: the run folder.
        data: another data file of the same kind; None for the run's own.
        split: valid or test.
        device: device to compute on, as torch names it.

    Raises:
        RunError: the folder holds no finished or imported run, the data does not fit it, or a value is NaN or infinite.
        DataError: the data is missing or wrong.
        UsageError: an unknown split or device, or an imported run without data.
    """
    if split not in ("valid", "test"):
        raise UsageError(f"split: found {split!r}, expected valid or test")
    run = None if RunFolder(path).imported else read_run(path)
    own = data is None and split == "test"
    found = _recorded(run) if run is not None and own else _collected(path, run, data, split, device)
    _refuse_non_finite(found)
    return found


def _recorded(run: Run) -> Analysed:
    epochs, kept = _training(run)
    title = f"{run_title(run)}, test split"
    return Analysed(run.record(), run.metrics["task"], "test", title, "record.h5", run.metrics["synthetic"], epochs, kept, OLDER)


def _collected(path: Path, run: Run | None, data: Path | None, split: str, device: str) -> Analysed:
    config = RunFolder(path).config()
    if run is None and data is None and config["data"]["path"] is None:
        raise UsageError(f"{path}: an imported checkpoint without data; give the features that it reads: --data FILE")
    where = usable_device(device)
    loaded = load_run(path, data)
    task = loaded.module.spec.task
    batches, ids = whole_split(loaded.data, split), loaded.data.ids(split)
    module = loaded.module
    seen = _as_record(predict_split(loaded.network, batches, ids, module.objective.task, module.optimisation.validation_loss, where))
    epochs, kept = (None, None) if run is None else _training(run)
    if run is not None:
        seen = _with_training(seen, run.record())
    name = loaded.data.name if data is None else data.name
    model = model_name(config["labels"]["model"], config["labels"].get("ablation"))
    synthetic = " (synthetic data)" if loaded.data.synthetic else ""
    title = f"{model} on {name}{synthetic}, {'imported' if run is None else 'seed ' + str(config['seed'])}, {split} split"
    source = f"the network on {name}, {split} split"
    missing = IMPORTED if run is None else OLDER
    return Analysed(seen, task, split, title, source, loaded.data.synthetic, epochs, kept, missing)


def _training(run: Run) -> tuple[Array, int | None]:
    epochs = run.history()["epoch"].astype(np.int64)
    kept = run.metrics["selection"].get("epoch")
    return epochs, kept if kept in epochs.tolist() else None


def _as_record(found: Predictions) -> Record:
    return Record(tuple(found.ids), found.label, found.prediction, found.edges, found.activations, found.embeddings)


def _with_training(seen: Record, recorded: Record) -> Record:
    """Return the samples of one record with the epochs of another."""
    edges = dict(seen.edges)
    for space, own in recorded.edges.items():
        if space in edges:
            edges[space] = replace(edges[space], validation=own.validation, validation_by_class=own.validation_by_class)
    return replace(seen, edges=edges, training=recorded.training)


def _refuse_non_finite(found: Analysed) -> None:
    for name, values in found.record.named().items():
        if values.dtype.kind == "O":  # texts
            continue
        bad = values.size - int(np.isfinite(values).sum())
        if bad:
            raise RunError(
                f"{name.removeprefix('test/')}: found {bad} NaN or infinite values of {values.size} (from {found.source}), expected finite "
                "ones; look at the features (`dhmd data inspect FILE`; data.non_finite=zero replaces NaN) and at the losses of the run"
            )
