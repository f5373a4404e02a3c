"""Reading a store, and finding or making the one that belongs to a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from dhmd.data.corpus import SPLITS
from dhmd.data.hdf5 import FORMAT, SCHEMA, checksum
from dhmd.data.problem import problem

MAGIC = b"\x89HDF\r\n\x1a\n"


class Store:
    """Reader of one store file.

    Small arrays are read and checked against their checksums when first used; features stay on disk, behind memory maps that each
    process opens for itself, so that a store can be handed to worker processes.

    Args:
        path: the store.

    Raises:
        DataError: the file is no store, is damaged, or is of another schema version.
    """

    splits = SPLITS

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        with self._open() as file:
            self._check_schema(file)
            attributes = dict(file.attrs)
            self.source_name = str(attributes["source_name"])
            self.source_size = int(attributes["source_size"])
            self.source_sha256 = str(attributes["source_sha256"])
            self.synthetic = bool(attributes["synthetic"])
            self.keys: dict[str, str] = json.loads(attributes["keys"])
            self.notes: list[str] = json.loads(attributes["notes"])

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "_maps"}

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modality names in order."""
        return tuple(self.keys)

    @property
    def dims(self) -> dict[str, int]:
        """Feature width of each modality."""
        return {m: self.features("train")[m].shape[2] for m in self.modalities}

    @property
    def lengths(self) -> dict[str, int]:
        """Stored frames of each modality."""
        return {m: self.features("train")[m].shape[1] for m in self.modalities}

    def size(self, split: str) -> int:
        """Number of samples."""
        return len(self.ids(split))

    def ids(self, split: str) -> list[str]:
        """Names of the samples."""
        return list(self._small[f"{split}/id"])

    def raw_text(self, split: str) -> list[str] | None:
        """Texts of the samples, None where the store has none."""
        texts = self._small.get(f"{split}/raw_text")
        return None if texts is None else list(texts)

    def labels(self, split: str, kind: str = "regression") -> npt.NDArray[Any] | None:
        """(N,) labels of the kind ``regression`` or ``classification``, None where the store has none."""
        return self._small.get(f"{split}/{kind}")

    def tokens(self, split: str) -> npt.NDArray[np.int32] | None:
        """(N, 3, T) token ids, mask, segments, None where the store has none."""
        return self._small.get(f"{split}/tokens")

    def real(self, split: str) -> dict[str, npt.NDArray[np.int32]]:
        """Per modality (N, 2): the first real frame and the one after the last."""
        return {m: self._small[f"{split}/real/{m}"] for m in self.modalities}

    def statistics(self, modality: str) -> npt.NDArray[np.float64]:
        """(3, d) count, mean and standard deviation over the real frames of train."""
        statistics: npt.NDArray[np.float64] = self._small[f"statistics/{modality}"]
        return statistics

    def non_finite(self, split: str) -> dict[str, tuple[int, int]]:
        """Per modality the number of NaN and infinite values, and of frames that have some."""
        return {m: self._non_finite[split, m] for m in self.modalities}

    def features(self, split: str) -> dict[str, npt.NDArray[np.float32]]:
        """Per modality (N, T, d), memory-mapped and read-only."""
        return {m: self._maps[split, m] for m in self.modalities}

    def read(self, split: str, rows: npt.NDArray[np.integer[Any]] | list[int]) -> dict[str, npt.NDArray[np.float32]]:
        """Per modality the features (B, T, d) of some rows, in memory."""
        return {m: x[np.asarray(rows)] for m, x in self.features(split).items()}

    def load(self, split: str) -> dict[str, npt.NDArray[np.float32]]:
        """Per modality all features (N, T, d), in memory, checked against their checksums.

        Raises:
            DataError: the bytes are not those that were written.
        """
        loaded = {m: np.array(x) for m, x in self.features(split).items()}
        for modality, x in loaded.items():
            self._compare(f"{split}/features/{modality}", x, self._sums[f"{split}/features/{modality}"])
        return loaded

    def verify(self) -> None:
        """Compare everything with its checksum.

        Raises:
            DataError: some bytes are not those that were written.
        """
        self.__dict__.pop("_small", None)  # read again, not from memory
        _ = self._small
        for split in self.splits:
            self.load(split)

    @cached_property
    def _maps(self) -> dict[tuple[str, str], npt.NDArray[np.float32]]:
        maps: dict[tuple[str, str], npt.NDArray[np.float32]] = {}
        with self._open() as file:
            for split in self.splits:
                for modality in self.modalities:
                    dataset = file[f"{split}/features/{modality}"]
                    mapped = np.memmap(self.path, dataset.dtype, "r", dataset.id.get_offset(), dataset.shape)
                    maps[split, modality] = mapped.view(np.ndarray)
        return maps

    @cached_property
    def _small(self) -> dict[str, Any]:
        """Everything but the features, checked."""
        small: dict[str, Any] = {}
        with self._open() as file:

            def visit(name: str, item: Any) -> None:
                if isinstance(item, h5py.Dataset) and "/features/" not in name:
                    is_text = h5py.check_string_dtype(item.dtype) is not None
                    small[name] = item.asstr()[:].tolist() if is_text else item[:]
                    self._compare(name, small[name], item.attrs["sha256"])

            file.visititems(visit)
        return small

    @cached_property
    def _sums(self) -> dict[str, str]:
        return {f"{s}/features/{m}": a["sha256"] for (s, m), a in self._feature_attributes.items()}

    @cached_property
    def _non_finite(self) -> dict[tuple[str, str], tuple[int, int]]:
        return {at: (int(a["non_finite_values"]), int(a["non_finite_frames"])) for at, a in self._feature_attributes.items()}

    @cached_property
    def _feature_attributes(self) -> dict[tuple[str, str], dict[str, Any]]:
        with self._open() as file:
            return {(s, m): dict(file[f"{s}/features/{m}"].attrs) for s in self.splits for m in self.modalities}

    @contextmanager
    def _open(self) -> Iterator[h5py.File]:
        try:
            with h5py.File(self.path, "r") as file:
                yield file
        except (OSError, KeyError, TypeError, ValueError) as error:  # whatever a half-written or foreign file lacks
            raise self._damaged(f"a file that cannot be read as one ({type(error).__name__}: {str(error)[:200]})") from None

    def _check_schema(self, file: h5py.File) -> None:
        if file.attrs.get("format") != FORMAT:
            raise self._damaged(f"an HDF5 file that is no {FORMAT}; its top level has {', '.join(list(file)[:10]) or 'nothing'}")
        if int(file.attrs["schema"]) != SCHEMA:
            raise self._damaged(f"a store of schema version {file.attrs['schema']}")

    def _compare(self, name: str, content: Any, expected: str) -> None:
        if (found := checksum(content)) != expected:
            raise problem(
                self.path,
                name,
                found=f"SHA-256 {found[:12]}...: the bytes have changed since the store was written",
                expected=f"SHA-256 {expected[:12]}...",
                do=f"delete this store; it is made again from {self.source_name}",
            )

    def _damaged(self, found: str) -> Exception:
        return problem(
            self.path,
            "",
            found=found,
            expected=f"a {FORMAT} of schema version {SCHEMA}",
            do="give the feature pickle as data.path: it is converted again",
        )
