"""Arrays that stay in their file and are read in parts, and features that are read block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dhmd.errors import data_error


class Extent:
    """A run of bytes in an open file, not read yet.

    Args:
        file: open for reading, seekable; it must stay open.
        path: name of the file, for messages.
        at: position of the first byte.
        size: number of bytes.
    """

    def __init__(self, file: IO[bytes], path: Path, at: int, size: int) -> None:
        self._file, self._path, self._at, self._size = file, path, at, size

    def __len__(self) -> int:
        return self._size

    def read(self, first: int = 0, stop: int | None = None) -> bytearray:
        """Return the bytes from ``first`` to before ``stop``; the file's position is restored for sequential readers.

        Raises:
            DataError: the file ends too early.
        """
        found = bytearray((self._size if stop is None else stop) - first)
        before = self._file.tell()
        self._file.seek(self._at + first)
        view, got = memoryview(found), 0
        while got < len(found):
            more = self._file.readinto(view[got:])  # type: ignore[attr-defined]  # IO does not say that it has it
            if not more:
                raise data_error(
                    self._path,
                    "",
                    found="a file that became shorter while it was read",
                    expected="a file at rest",
                    do="wait, then try again",
                )
            got += more
        self._file.seek(before)
        return found


class DiskArray:
    """Array of rank 3 in a file. Slicing or indexing rows reads them; ``numpy.asarray`` reads all.

    Args:
        content: bytes of the array, row by row.
        dtype: data type of the values.
        shape: (N, T, d).
    """

    ndim = 3

    def __init__(self, content: Extent, dtype: np.dtype[Any], shape: tuple[int, int, int]) -> None:
        self._content, self.dtype, self.shape = content, dtype, shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | npt.NDArray[Any]) -> npt.NDArray[Any]:
        if not isinstance(rows, slice):
            chosen: npt.NDArray[Any] = np.asarray(self)[rows]
            return chosen
        first, stop, step = rows.indices(len(self))
        stop = max(first, stop)
        width = math.prod(self.shape[1:]) * self.dtype.itemsize
        read = np.frombuffer(self._content.read(first * width, stop * width), self.dtype)
        return read.reshape(stop - first, *self.shape[1:])[::step]

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return (self[i : i + 1][0] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.asarray(self[:], dtype)


class Features:
    """Features (N, T, d) of one modality, in memory or in a file and of any numeric type, read in blocks as float32.

    Args:
        array: array of rank 3, in memory, mapped, or on a disk.
        first: first row.
        stop: row after the last one; None for all rows.
    """

    dtype = np.dtype(np.float32)

    def __init__(self, array: npt.NDArray[Any] | DiskArray, first: int = 0, stop: int | None = None) -> None:
        self._array = array
        self._first, self._stop, _ = slice(first, stop).indices(len(array))

    def __len__(self) -> int:
        return max(0, self._stop - self._first)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (N, T, d)."""
        _, length, width = self._array.shape
        return len(self), length, width

    @property
    def nbytes(self) -> int:
        """Size in bytes as float32."""
        return math.prod(self.shape) * 4

    def rows(self, first: int, stop: int) -> Features:
        """Return the samples from ``first`` to before ``stop``, not read yet."""
        return Features(self._array, self._first + first, min(self._first + stop, self._stop))

    def read(self) -> npt.NDArray[np.float32]:
        """Return all features in memory; a view if no copy is needed."""
        with np.errstate(over="ignore"):  # values beyond float32 become infinite and are counted as such
            return np.ascontiguousarray(self._array[self._first : self._stop], np.float32)
