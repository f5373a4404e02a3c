"""The HDF5 store: its layout, and a writer that works block by block of samples.

::

    attributes: format, schema, about (JSON: source, keys, layout, synthetic, text_only, notes, made_by)
    /<split>/features/<modality>   (N, T, d) float32, contiguous; non-finite values kept; attributes non_finite_values, non_finite_frames
    /<split>/real/<modality>       (N, 2) int32: the first real frame, the one after the last
    /<split>/regression            (N,) float32      optional
    /<split>/classification        (N,) int64        optional
    /<split>/tokens                (N, 3, T) int32   optional
    /<split>/id, /<split>/raw_text JSON as uint8     raw_text optional
    /<split>/groups/<name>         JSON as uint8     optional: samples with the same string can be kept together
    /statistics/<modality>         (3, d) float64: count, mean and standard deviation of the finite values in the real frames of train

Contiguous, because single samples are read in random order: their bytes are then found by arithmetic. Every dataset has the attribute
sha256. HDF5's own structures are written in the format of 1.10, which has checksums, and no string has a variable length: those lie where
no checksum is, and a flipped bit there crashes the library.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

import dhmd
from dhmd.data.progress import progress
from dhmd.data.sources.checked import About, Corpus, Split
from dhmd.data.sources.fingerprint import Source
from dhmd.data.sources.frames import CHUNK
from dhmd.data.store.statistics import FrameStatistics, count_non_finite
from dhmd.files import atomic_path

FORMAT = "dhmd-store"
SCHEMA = 2
VERSION = "v110"  # of HDF5's file format


def write_store(corpus: Corpus, path: Path, source: Source, at_rest: Callable[[], None] = lambda: None) -> None:
    """Write ``corpus`` to ``path`` atomically.

    Args:
        corpus: the corpus to write; its features may still lie in their file.
        path: path of the store.
        source: source of the corpus.
        at_rest: function called before the store takes its final path; raises if the source has changed meanwhile.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    total = sum(len(split) for split in corpus.splits.values())
    with progress(f"writing {path.name}", total, "samples") as advance, new_store(path, source, corpus.about) as writer:
        for name, split in corpus.splits.items():
            for first in range(0, len(split), CHUNK):
                block = split.rows(first, first + CHUNK)
                writer.add(name, len(split), block)
                advance(len(block))
        at_rest()


@contextmanager
def new_store(path: Path, source: Source, about: About) -> Iterator[StoreWriter]:
    """Yield a writer whose store takes its final path when the block ends without an error.

    Raises:
        OSError: the folder cannot be written, or the disk is full.
    """
    with atomic_path(path) as part, PatientFile(part) as disk:
        with h5py.File(disk, "w", libver=(VERSION, VERSION)) as file:
            writer = StoreWriter(file, disk.check)
            yield writer
            writer.finish(source, about)
        disk.check()


class StoreWriter:
    """Writer of splits block by block, so that none has to be in memory as a whole.

    Args:
        file: an empty HDF5 file.
        check: function that raises the first error of writing so far.
    """

    def __init__(self, file: h5py.File, check: Callable[[], None]) -> None:
        self._file, self._check = file, check
        self._filled: dict[str, int] = {}
        self._sums: dict[str, Any] = {}
        self._strings: dict[str, list[str]] = {}
        self._non_finite: dict[str, list[int]] = {}
        self._statistics: dict[str, FrameStatistics] = {}

    def add(self, name: str, n: int, block: Split) -> None:
        """Append samples to a split that will have ``n`` of them."""
        for modality, features in block.features.items():
            x = features.read()
            self._append(f"{name}/features/{modality}", n, x.astype("<f4", copy=False))
            counts = self._non_finite.setdefault(f"{name}/features/{modality}", [0, 0])
            for i, more in enumerate(count_non_finite(x)):
                counts[i] += more
            self._append(f"{name}/real/{modality}", n, block.real[modality])
            if name == "train":
                self._statistics.setdefault(modality, FrameStatistics(x.shape[2])).add(x, block.real[modality])
        for key in ("regression", "classification", "tokens"):
            if (array := getattr(block, key)) is not None:
                self._append(f"{name}/{key}", n, array)
        strings = {"id": block.ids, "raw_text": block.raw_text, **{f"groups/{g}": v for g, v in block.groups.items()}}
        for key, values in strings.items():
            if values is not None:
                self._strings.setdefault(f"{name}/{key}", []).extend(values)

    def finish(self, source: Source, about: About) -> None:
        """Write the data known at the end: statistics, strings, checksums, attributes."""
        for modality, statistics in self._statistics.items():
            self._append(f"statistics/{modality}", 3, statistics.result())
        for name, strings in self._strings.items():
            content = np.frombuffer(json.dumps(strings).encode(), np.uint8)
            self._append(name, len(content), content)
        for name, digest in self._sums.items():
            self._file[name].attrs["sha256"] = np.bytes_(digest.hexdigest())
        for name, (values, frames) in self._non_finite.items():
            self._file[name].attrs.update(non_finite_values=values, non_finite_frames=frames)
        said = {"source": asdict(source), **asdict(about), "made_by": f"dhmd {dhmd.__version__}"}
        self._file.attrs.update(format=np.bytes_(FORMAT), schema=SCHEMA, about=np.bytes_(json.dumps(said)))

    def _append(self, name: str, n: int, array: npt.NDArray[Any]) -> None:
        if name not in self._filled:
            self._file.create_dataset(name, shape=(n, *array.shape[1:]), dtype=array.dtype)
            self._filled[name], self._sums[name] = 0, hashlib.sha256()
        first = self._filled[name]
        self._file[name][first : first + len(array)] = array
        self._sums[name].update(np.ascontiguousarray(array).data)
        self._filled[name] = first + len(array)
        self._check()


def checksum(content: npt.NDArray[Any]) -> str:
    """Return the SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(content).data).hexdigest()


class PatientFile(io.FileIO):
    """A file that stores its first writing error and then only pretends to write; `check` raises the error.

    A file that HDF5 cannot close stays half open inside the library, and a later use of the library in the same process crashes.

    Args:
        path: path of the file, which is created anew.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self.error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write all of ``data``; write nothing more after an error."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view) and self.error is None:
            try:
                done += super().write(view[done:])
            except OSError as error:
                self.error = error
        return len(view)

    def readinto(self, buffer: Any, /) -> int:
        """Fill ``buffer``, with zeros if nothing could be written."""
        view = memoryview(buffer).cast("B")
        got = super().readinto(view) or 0
        if self.error is not None:
            view[got:] = bytes(len(view) - got)
            return len(view)
        return got

    def truncate(self, size: int | None = None, /) -> int:
        """Set the file's size."""
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def check(self) -> None:
        """Raise the first error of writing, if there was one.

        Raises:
            OSError: writing failed.
        """
        if self.error is not None:
            raise self.error
