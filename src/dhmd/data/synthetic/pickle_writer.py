"""Writing of a feature pickle block by block: arrays of known size are left as gaps in the file and filled as their rows arrive."""

from __future__ import annotations

import os
import pickle  # only written, never loaded
from collections.abc import Mapping
from typing import IO, Any

import numpy as np

HEAD = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
"""An empty array as a pickle spells it, under the module name that every version of NumPy knows."""


class PickleWriter:
    """Writer of ``{split: {key: array or list}, ...}`` with the features (rank 3, float32) of a split first.

    Args:
        file: open for writing, at its start.
        sizes: samples of each split, in the order in which they will come.
    """

    def __init__(self, file: IO[bytes], sizes: Mapping[str, int]) -> None:
        self._file, self._sizes = file, dict(sizes)
        self._split = ""
        self._holes: dict[str, int] = {}
        self._rest: dict[str, Any] = {}
        file.write(b"\x80\x04}(")  # a dict, and a mark before its items

    def add(self, split: str, block: Mapping[str, Any]) -> None:
        """Append samples to a split; splits are written one after the other."""
        if split != self._split:
            self._close_split()
            self._split = split
            self._file.write(_pickled(split) + b"}(")
            self._holes = {
                k: self._hole(k, v) for k, v in block.items() if isinstance(v, np.ndarray) and v.dtype == np.float32 and v.ndim == 3
            }
        end = self._file.tell()
        for key, value in block.items():
            if key in self._holes:
                data = np.ascontiguousarray(value)
                self._file.seek(self._holes[key])
                self._file.write(data.data)
                self._holes[key] += data.nbytes
            else:
                self._rest.setdefault(key, []).append(value)
        self._file.seek(end)

    def finish(self, more: Mapping[str, Any]) -> None:
        """Write the last split, further items of the outer dict, and the end."""
        self._close_split()
        for key, value in more.items():
            self._file.write(_pickled(key) + _pickled(value))
        self._file.write(b"u.")

    def _hole(self, key: str, block: np.ndarray[Any, Any]) -> int:
        """Write an array up to its bytes, leave a gap for these, and write the rest; return the offset of the gap."""
        shape = (self._sizes[self._split], *block.shape[1:])
        size = int(np.prod(shape)) * 4
        state = b"(K\x01" + _pickled(shape) + _pickled(np.dtype("<f4")) + b"\x89"  # version, shape, type, not Fortran's order
        self._file.write(_pickled(key) + HEAD + state + b"\x8e" + size.to_bytes(8, "little"))
        at = self._file.tell()
        self._file.seek(size, os.SEEK_CUR)
        self._file.write(b"tb")
        return at

    def _close_split(self) -> None:
        if not self._split:
            return
        for key, parts in self._rest.items():
            whole = np.concatenate(parts) if isinstance(parts[0], np.ndarray) else [x for part in parts for x in part]
            self._file.write(_pickled(key) + _pickled(whole))
        self._file.write(b"u")
        self._rest = {}


def _pickled(value: Any) -> bytes:
    """Return the value as part of a pickle, without its start and end."""
    return pickle.dumps(value, protocol=3)[2:-1]
