"""Checks of the data module's options and of a store before a run uses it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dhmd.batch import Task
from dhmd.data.catalog import identify, published_files
from dhmd.data.layouts import layouts
from dhmd.data.sources.locate import check_label_range, feature_place, first_non_finite, label_place
from dhmd.data.store.reader import Store
from dhmd.data.store.statistics import varies
from dhmd.data.synthetic.generator import SyntheticOptions
from dhmd.errors import UsageError, data_error


def task_labels(store: Store, path: Path | str, task: Task, label_range: tuple[float, float]) -> tuple[dict[str, torch.Tensor], int]:
    """Return the labels of each split in the form the task needs, and the number of classes.

    Args:
        store: the store that holds the labels.
        path: the file to name in messages.
        task: regression, binary or multiclass.
        label_range: lowest and highest regression label allowed.

    Returns:
        Labels (N,) by split: float32 for regression and binary (0 and 1), int64 for multiclass; and the number of classes, which is 1
        for regression and binary.

    Raises:
        DataError: labels are absent or outside the range, or they are not classes 0, 1, ... each of which occurs in train.
    """
    kind = "regression" if task == "regression" else "classification"
    labels = {s: store.labels(s, kind) for s in store.splits}
    present = {s: x for s, x in labels.items() if x is not None}
    if len(present) < len(labels):
        file, key = label_place(path, "train", kind)
        if not Path(path).expanduser().is_dir():
            raise data_error(
                path, key, found="no such labels", expected=f"{kind}_labels, which data.task={task} needs",
                do="add them to the file, or choose another data.task",
            )  # fmt: skip
        what = "a column label of numbers" if task == "regression" else "a column class of whole numbers from 0"
        do = f"add the column, or choose data.task={'multiclass or binary' if task == 'regression' else 'regression'}"
        raise data_error(file, what.split()[2], found="no such column", expected=f"{what}, which data.task={task} needs", do=do)
    if task == "regression":
        for split, x in present.items():
            check_label_range(x, *label_range, path, split, store.ids(split))
        return {s: torch.from_numpy(x) for s, x in present.items()}, 1
    classes = np.unique(present["train"])
    n = len(classes)
    for split, x in present.items():
        if not np.array_equal(classes, np.arange(n)) or (task == "binary" and n != 2) or x.min() < 0 or x.max() >= n:
            raise data_error(
                *label_place(path, split, kind),
                found=f"the classes {', '.join(str(c) for c in np.unique(x)[:20])} (train: {', '.join(str(c) for c in classes[:20])})",
                expected="0 and 1" if task == "binary" else "classes from 0 without gaps, every one of them in train",
                do="renumber the classes, or choose another data.task",
            )
    if task == "binary":
        return {s: torch.from_numpy(x).float() for s, x in present.items()}, 1
    return {s: torch.from_numpy(x) for s, x in present.items()}, n


def check_alignment(store: Store, path: Path | str, wanted: bool | None) -> bool:
    """Return whether all modalities have the same number of frames.

    Args:
        store: the store to check.
        path: the file to name in messages.
        wanted: the required alignment; None to accept either.

    Raises:
        DataError: the alignment is not the one required.
    """
    aligned = len(set(store.lengths.values())) == 1
    if wanted is not None and aligned != wanted:
        kind = {True: "aligned", False: "unaligned"}
        raise data_error(
            path,
            "",
            found=f"{kind[aligned]} modalities, frames {store.lengths}",
            expected=f"{kind[wanted]} ones, as data.aligned={str(wanted).lower()} says",
            do=f"give the {kind[wanted]} file, or choose the data config of this one (data=..._{kind[wanted]})",
        )
    return aligned


def refuse_non_finite(store: Store, path: Path | str) -> None:
    """Refuse NaN and infinite features.

    Raises:
        DataError: there are such values; the message counts them by split and modality, and names the first sample.
    """
    counts = {(s, m): store.non_finite(s)[m] for s in store.splits for m in store.modalities}
    bad = {at: c for at, c in counts.items() if c[0]}
    if bad:
        split, modality = next(iter(bad))
        row = first_non_finite(store.features(split)[modality])
        sample = store.ids(split)[row or 0]
        every = [f"{values} NaN or infinite values in {frames} frames of {s}/{store.keys[m]}" for (s, m), (values, frames) in bad.items()]
        raise data_error(
            *feature_place(path, split, store.keys[modality], sample),
            found=f"{', '.join(every)}; the first in sample {sample!r}",
            expected="finite features, as data.non_finite=error wants",
            do="set data.non_finite=zero to read them as 0, or extract these features again",
        )


def constant_modalities(store: Store) -> list[str]:
    """Return a sentence for each uninformative modality: one without real frames in train, or without a feature that varies over them."""
    sentences = []
    for modality in store.modalities:
        statistics = store.statistics(modality)
        if store.text_only and modality == "language":
            continue  # a placeholder for the states of a text encoder
        if not np.any(statistics[0]):
            sentences.append(f"{modality} is constant: all zero in train, so it can contribute nothing")
        elif not np.any(varies(statistics)):
            sentences.append(f"{modality} is constant: no feature of it varies in train, so it can contribute nothing")
    return sentences


def zeroed_values(store: Store) -> list[str]:
    """Return a sentence for each modality with NaN or infinite values."""
    sentences = []
    for modality in store.modalities:
        values, frames = (sum(store.non_finite(s)[modality][i] for s in store.splits) for i in (0, 1))
        if values:
            sentences.append(f"{modality}: {values} NaN or infinite values in {frames} frames are set to 0")
    return sentences


def unpublished(store: Store, expects: str | None) -> list[str]:
    """Return a sentence if the file read is not the published one that is expected."""
    if expects is None or identify(store.source_sha256) == (file := published_files()[expects]):
        return []
    return [f"{store.source_name} is not the published {file.file} of {file.dataset}: do not compare its results with the papers'"]


CHOICES: dict[str, tuple[str | None, ...]] = {
    "task": ("regression", "binary", "multiclass"),
    "non_finite": ("error", "zero"),
    "tokens": ("auto", "text_bert", "raw_text"),
    "expects": (None, *published_files()),
}


def check_choices(**values: Any) -> None:
    """Check options that have a few allowed values.

    Raises:
        UsageError: an option has another value.
    """
    for option, value in values.items():
        choices = (None, *layouts()) if option == "layout" else CHOICES[option]  # layouts of extensions are loaded only on demand
        if value not in choices:
            raise UsageError(f"data.{option}: found {value!r}, expected one of {', '.join(map(str, choices))}")


def synthetic_options(synthetic: Mapping[str, Any] | None, task: str) -> SyntheticOptions | None:
    """Return the options of the embedded corpus, with classes as the task needs them.

    Raises:
        UsageError: an option is unknown or out of range.
    """
    if synthetic is None:
        return None
    return SyntheticOptions.of({"classes": 2 if task == "binary" else 3, **synthetic})
