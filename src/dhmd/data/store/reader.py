"""Reader of a store."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
import numpy.typing as npt

from dhmd.batch import LANGUAGE
from dhmd.data.layouts import SPLITS
from dhmd.data.modalities import chosen
from dhmd.data.progress import Advance, silent
from dhmd.data.sources.frames import CHUNK
from dhmd.data.store.raw_file import RawFile
from dhmd.data.store.writer import FORMAT, SCHEMA, checksum
from dhmd.errors import data_error

MAGIC = b"\x89HDF\r\n\x1a\n"


class Store:
    """Reader of one store file.

    Small arrays are read and checked against their checksums when first used. Features stay on disk and are read sample by sample: a
    memory map would count as resident memory in the end. Each process opens the file for itself, so that a store can be handed to
    worker processes.

    Args:
        path: the store.
        modalities: modalities to read, in order, as a list of names or as a map of names to keys; None for all.

    Raises:
        DataError: the file is no store, is damaged, is of another schema version, or lacks a modality.
    """

    splits = SPLITS

    def __init__(self, path: Path, modalities: Mapping[str, str] | Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self._file = RawFile(self.path)  # never closed by hand: a store lives as long as its data module
        # the open file, and the offsets in it at which each split's modalities begin
        self._placed: tuple[IO[bytes], dict[tuple[str, str], int]] | None = None
        with self._open() as file:
            self._check_schema(file)
            about = json.loads(bytes(file.attrs["about"]))
            self.source_name = str(about["source"]["name"])
            self.source_size = int(about["source"]["size"])
            self.source_sha256 = str(about["source"]["sha256"])
            self.synthetic = bool(about["synthetic"])
            self.layout = str(about["layout"])
            self.keys: dict[str, str] = chosen(dict(about["keys"]), modalities, self.path)
            self.text_only = bool(about["text_only"]) and LANGUAGE in self.keys
            self.notes: list[str] = list(about["notes"])

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_maps"} | {"_placed": None}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modality names in order."""
        return tuple(self.keys)

    @property
    def dims(self) -> dict[str, int]:
        """Feature width of each modality."""
        return {m: self._shapes["train", m][2] for m in self.modalities}

    @property
    def lengths(self) -> dict[str, int]:
        """Stored frames of each modality."""
        return {m: self._shapes["train", m][1] for m in self.modalities}

    def shape(self, split: str, modality: str) -> tuple[int, ...]:
        """Return the shape (N, T, d) of a modality's features."""
        return self._shapes[split, modality]

    def size(self, split: str) -> int:
        """Return the number of samples."""
        return len(self.ids(split))

    def ids(self, split: str) -> list[str]:
        """Return the ids of the samples."""
        return list(self._small[f"{split}/id"])

    def raw_text(self, split: str) -> list[str] | None:
        """Return the texts of the samples; None if the store has none."""
        texts = self._small.get(f"{split}/raw_text")
        return None if texts is None else list(texts)

    def labels(self, split: str, kind: str = "regression") -> npt.NDArray[Any] | None:
        """Return the labels (N,) of the kind ``regression`` or ``classification``; None if the store has none."""
        return self._small.get(f"{split}/{kind}")

    def tokens(self, split: str) -> npt.NDArray[np.int32] | None:
        """Return token ids, mask and segments (N, 3, T); None if the store has none."""
        return self._small.get(f"{split}/tokens")

    def real(self, split: str) -> dict[str, npt.NDArray[np.int32]]:
        """Return by modality (N, 2): the first real frame and the one after the last."""
        return {m: self._small[f"{split}/real/{m}"] for m in self.modalities}

    def groups(self, split: str) -> dict[str, list[str]]:
        """Return the group of each sample, by name of the grouping."""
        start = f"{split}/groups/"
        return {name.removeprefix(start): list(v) for name, v in self._small.items() if name.startswith(start)}

    def statistics(self, modality: str) -> npt.NDArray[np.float64]:
        """Return (3, d) count, mean and standard deviation over the real frames of train."""
        statistics: npt.NDArray[np.float64] = self._small[f"statistics/{modality}"]
        return statistics

    def non_finite(self, split: str) -> dict[str, tuple[int, int]]:
        """Return by modality the number of NaN and infinite values, and of frames that have any."""
        return {m: self._non_finite[split, m] for m in self.modalities}

    def features(self, split: str) -> dict[str, npt.NDArray[np.float32]]:
        """Return the features (N, T, d) by modality, memory-mapped and read-only."""
        return {m: self._maps[split, m] for m in self.modalities}

    def read(
        self, split: str, rows: npt.NDArray[np.integer[Any]] | list[int], modalities: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the features (B, T, d) of some rows by modality (all or some modalities), in memory."""
        return {m: self._rows(split, m, [int(r) for r in rows]) for m in self._of(modalities)}

    def load(self, split: str, modalities: Sequence[str] | None = None) -> dict[str, npt.NDArray[np.float32]]:
        """Return all features (N, T, d) by modality (all or some modalities), in memory, checked against their checksums.

        Raises:
            DataError: the bytes differ from those that were written.
        """
        loaded = {m: np.empty(self._shapes[split, m], "<f4") for m in self._of(modalities)}
        for modality, x in loaded.items():
            self._fill(x, split, modality, 0)
            self._compare(f"{split}/features/{modality}", checksum(x))
        return loaded

    def verify(self, advance: Advance = silent) -> None:
        """Compare the whole store with its checksums, block by block.

        Args:
            advance: function that is called with the number of feature bytes read.

        Raises:
            DataError: some bytes differ from those that were written.
        """
        self.__dict__.pop("_small", None)  # read from the file again, not from memory
        _ = self._small
        for (split, modality), shape in self._shapes.items():
            digest = hashlib.sha256()
            for first in range(0, shape[0], CHUNK):
                x = np.empty((min(CHUNK, shape[0] - first), *shape[1:]), "<f4")
                self._fill(x, split, modality, first)
                digest.update(x.data)
                advance(x.nbytes)
            self._compare(f"{split}/features/{modality}", digest.hexdigest())

    def _of(self, modalities: Sequence[str] | None) -> Sequence[str]:
        return self.modalities if modalities is None else modalities

    def _rows(self, split: str, modality: str, rows: list[int]) -> npt.NDArray[np.float32]:
        out = np.empty((len(rows), *self._shapes[split, modality][1:]), "<f4")
        for x, row in zip(out, rows, strict=True):
            self._fill(x, split, modality, row)
        return out

    def _fill(self, x: npt.NDArray[np.float32], split: str, modality: str, row: int) -> None:
        """Read the bytes of ``x`` from the file, from a row on."""
        file = self._file.opened()
        if self._placed is None or self._placed[0] is not file:
            # looked up in the open file: another process may have replaced it by a new one
            self._placed = file, self._offsets(file)
        shape = self._shapes[split, modality]
        offset = self._placed[1][split, modality] + row * math.prod(shape[1:]) * 4
        if not (0 <= row < shape[0] and self._file.fill(x, offset)):
            raise self._damaged(f"a file that ends before row {row} of {split}/features/{modality}")

    def _offsets(self, file: IO[bytes]) -> dict[tuple[str, str], int]:
        with self._open(file) as store:
            size = file.seek(0, 2)
            found = {(s, m): store[f"{s}/features/{m}"] for s in self.splits for m in self.modalities}
            for (split, modality), dataset in found.items():
                self._check_declared(dataset, size)
                if dataset.shape != self._shapes[split, modality] or dataset.dtype != "<f4" or dataset.id.get_offset() is None:
                    raise ValueError(f"{dataset.name} is not as it was, or not in one piece")
            return {at: dataset.id.get_offset() for at, dataset in found.items()}

    @staticmethod
    def _check_declared(dataset: h5py.Dataset, size: int) -> None:
        if dataset.nbytes > size:  # checked before memory is reserved for it
            raise ValueError(f"{dataset.name} declares {dataset.nbytes} bytes in a file of {size}")

    @cached_property
    def _shapes(self) -> dict[tuple[str, str], tuple[int, ...]]:
        with self._open() as file:
            return {(s, m): file[f"{s}/features/{m}"].shape for s in self.splits for m in self.modalities}

    @cached_property
    def _maps(self) -> dict[tuple[str, str], npt.NDArray[np.float32]]:
        maps: dict[tuple[str, str], npt.NDArray[np.float32]] = {}
        with self._open() as file:
            for at in self._shapes:
                dataset = file[f"{at[0]}/features/{at[1]}"]
                mapped = np.memmap(self.path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
                maps[at] = mapped.view(np.ndarray)
        return maps

    @cached_property
    def _small(self) -> dict[str, Any]:
        """Everything but the features, checked."""
        small: dict[str, Any] = {}
        with self._open() as file:
            size = self.path.stat().st_size

            def visit(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and "/features/" not in name:
                    self._check_declared(item, size)
                    content = item[:]
                    self._compare(name, checksum(content), bytes(item.attrs["sha256"]).decode())
                    small[name] = json.loads(content.tobytes()) if content.dtype == np.uint8 else content

            file.visititems(visit)
        self._check_whole(small)
        return small

    def _check_whole(self, small: dict[str, Any]) -> None:
        """Check that every split has ids and real frames, and as many items of every kind as samples of features."""
        for (split, modality), shape in self._shapes.items():
            for name in (f"{split}/id", f"{split}/real/{modality}", f"statistics/{modality}"):
                if name not in small:
                    raise self._damaged(f"a file without {name}")
            parts = {n: len(v) for n, v in small.items() if n.startswith(f"{split}/")}
            if odd := [n for n, length in parts.items() if length != shape[0]]:
                raise self._damaged(f"{parts[odd[0]]} samples in {odd[0]} and {shape[0]} in {split}/features/{modality}")

    @cached_property
    def _non_finite(self) -> dict[tuple[str, str], tuple[int, int]]:
        return {at: (int(a["non_finite_values"]), int(a["non_finite_frames"])) for at, a in self._feature_attributes.items()}

    @cached_property
    def _feature_attributes(self) -> dict[tuple[str, str], dict[str, Any]]:
        with self._open() as file:
            return {(s, m): dict(file[f"{s}/features/{m}"].attrs) for s in self.splits for m in self.modalities}

    @contextmanager
    def _open(self, opened: IO[bytes] | None = None) -> Iterator[h5py.File]:
        try:
            with h5py.File(opened or self.path, "r") as file:
                yield file
        except (
            OSError,
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            RuntimeError,
        ) as error:  # a half-written or foreign file may lack anything
            raise self._damaged(f"a file that cannot be read as one ({type(error).__name__}: {str(error)[:200]})") from None

    def _check_schema(self, file: h5py.File) -> None:
        if bytes(np.bytes_(file.attrs.get("format", b""))) != FORMAT.encode():
            raise self._damaged(f"an HDF5 file that is no {FORMAT}; its top level has {', '.join(list(file)[:10]) or 'nothing'}")
        if int(file.attrs["schema"]) != SCHEMA:
            raise self._damaged(f"a store of schema version {file.attrs['schema']}")

    def _compare(self, name: str, found: str, expected: str | None = None) -> None:
        if expected is None:
            split, _, modality = name.split("/")
            expected = bytes(self._feature_attributes[split, modality]["sha256"]).decode()
        if found != expected:
            raise data_error(
                self.path,
                name,
                found=f"SHA-256 {found[:12]}...: the bytes have changed since the store was written",
                expected=f"SHA-256 {expected[:12]}...",
                do=f"delete this store; it is made again from {self.source_name}",
            )

    def _damaged(self, found: str) -> Exception:
        return data_error(
            self.path,
            "",
            found=found,
            expected=f"a {FORMAT} of schema version {SCHEMA}",
            do="give the feature pickle as data.path: it is converted again",
        )
