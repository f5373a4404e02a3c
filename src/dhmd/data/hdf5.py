"""The HDF5 store: its layout, and how one is written.

::

    attributes: format, schema, source_name, source_size, source_sha256, synthetic, keys (JSON), notes (JSON), made_by
    /<split>/features/<modality>   (N, T, d) float32, contiguous; non-finite values kept; attributes non_finite_values, non_finite_frames
    /<split>/real/<modality>       (N, 2) int32: the first real frame, the one after the last
    /<split>/regression            (N,) float32      optional
    /<split>/classification        (N,) int64        optional
    /<split>/tokens                (N, 3, T) int32   optional
    /<split>/id, /<split>/raw_text (N,) UTF-8        raw_text optional
    /statistics/<modality>         (3, d) float64: count, mean and standard deviation of the finite values in the real frames of train

Contiguous, because single samples are read in random order: a memory map then reads just these rows. Every dataset has the attribute
sha256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

import dhmd
from dhmd.atomic import atomic_path
from dhmd.data.corpus import KEYS, Corpus, Split
from dhmd.data.ranges import CHUNK

FORMAT = "dhmd-store"
SCHEMA = 1


@dataclass(frozen=True)
class Source:
    """What a store is made from.

    Attributes:
        name: file name.
        size: bytes.
        sha256: of the content.
    """

    name: str
    size: int
    sha256: str


def write_store(corpus: Corpus, path: Path, source: Source, keys: Mapping[str, str] = KEYS) -> None:
    """Write ``corpus`` to ``path``: whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    with atomic_path(path) as part, h5py.File(part, "w") as file:
        file.attrs.update(
            format=FORMAT,
            schema=SCHEMA,
            made_by=f"dhmd {dhmd.__version__}",
            source_name=source.name,
            source_size=source.size,
            source_sha256=source.sha256,
            synthetic=corpus.synthetic,
            keys=json.dumps(dict(keys)),
            notes=json.dumps(corpus.notes),
        )
        for name, split in corpus.splits.items():
            _write_split(file.create_group(name), split)
        train = corpus.splits["train"]
        for modality, x in train.features.items():
            _write(file, f"statistics/{modality}", frame_statistics(x, train.real[modality]))


def _write_split(group: h5py.Group, split: Split) -> None:
    for modality, x in split.features.items():
        dataset = _write(group, f"features/{modality}", x.astype("<f4", copy=False))
        values, frames = count_non_finite(x)
        dataset.attrs.update(non_finite_values=values, non_finite_frames=frames)
        _write(group, f"real/{modality}", split.real[modality])
    for name in ("regression", "classification", "tokens"):
        if (array := getattr(split, name)) is not None:
            _write(group, name, array)
    for name, strings in (("id", split.ids), ("raw_text", split.raw_text)):
        if strings is not None:
            clean = [s.replace("\0", " ").encode(errors="replace").decode() for s in strings]  # HDF5 strings end at a zero byte
            dataset = group.create_dataset(name, data=clean, dtype=h5py.string_dtype())
            dataset.attrs["sha256"] = checksum(clean)


def _write(group: h5py.Group, name: str, array: npt.NDArray[Any]) -> h5py.Dataset:
    dataset = group.create_dataset(name, data=array)
    dataset.attrs["sha256"] = checksum(array)
    return dataset


def checksum(content: npt.NDArray[Any] | list[str]) -> str:
    """SHA-256 of an array's bytes or of a list of strings."""
    if isinstance(content, list):
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()
    return hashlib.sha256(np.ascontiguousarray(content).data).hexdigest()


def count_non_finite(x: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Count the NaN and infinite values of (N, T, d), and the frames that have some."""
    values = frames = 0
    for at in range(0, len(x), CHUNK):
        bad = ~np.isfinite(x[at : at + CHUNK])
        values += int(bad.sum())
        frames += int(bad.any(axis=2).sum())
    return values, frames


def frame_statistics(x: npt.NDArray[np.float32], real: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """Count, mean and standard deviation of each feature over the finite values of the real frames, in float64, a chunk at a time.

    Args:
        x: (N, T, d).
        real: (N, 2).

    Returns:
        (3, d); a feature without values has count, mean and deviation 0.
    """
    frame = np.arange(x.shape[1])
    total = np.zeros((3, x.shape[2]))  # count, sum, sum of squares about the mean so far
    for at in range(0, len(x), CHUNK):
        first, stop = real[at : at + CHUNK, :1], real[at : at + CHUNK, 1:]
        frames = x[at : at + CHUNK][(frame >= first) & (frame < stop)].astype(np.float64)
        total = _merge(total, frames)
    count, mean, squares = total
    return np.stack([count, mean, np.sqrt(squares / np.maximum(count, 1))])


def _merge(total: npt.NDArray[np.float64], frames: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Add frames (n, d) to count, mean and sum of squared deviations (Chan, Golub and LeVeque 1979, eq. 2.1)."""
    finite = np.isfinite(frames)
    n = finite.sum(axis=0)
    mean = np.where(finite, frames, 0).sum(axis=0) / np.maximum(n, 1)
    squares = (np.where(finite, frames - mean, 0) ** 2).sum(axis=0)
    both = np.maximum(total[0] + n, 1)
    delta = mean - total[1]
    return np.stack([total[0] + n, total[1] + delta * n / both, total[2] + squares + delta**2 * total[0] * n / both])
