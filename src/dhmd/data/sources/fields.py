"""The fields of one split, each checked and brought to one type."""

from __future__ import annotations

from collections.abc import Sized
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.data.sources.lazy_array import DiskArray, Features
from dhmd.errors import data_error


def features_of(value: Any, n: int, path: Path, key: str) -> Features:
    """Check the features of one modality.

    Returns:
        (N, T, d) features; features on a disk are not read yet.

    Raises:
        DataError: the value is not a numeric array of rank 3 with N samples and at least one frame and one feature.
    """
    array = value if isinstance(value, DiskArray) else _numbers(value, path, key, rank=3, shape="(N, T, d): samples, frames, features")
    _check_n(array, n, path, key)
    if 0 in array.shape:
        raise data_error(
            path, key, found=f"shape {array.shape}", expected="at least one frame and one feature", do="extract the features again"
        )
    return Features(array)


def labels_of(value: Any, n: int, path: Path, key: str) -> npt.NDArray[np.float32] | None:
    """Check labels given as (N,) or (N, 1).

    Returns:
        (N,) float32, or None without labels.

    Raises:
        DataError: the rank or the count is wrong, or a label is NaN or infinite.
    """
    if value is None:
        return None
    array = _numbers(value, path, key, rank=1, shape="(N,) or (N, 1)")
    _check_n(array, n, path, key)
    with np.errstate(over="ignore"):  # values beyond float32 become infinite and are caught below
        array = array.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise data_error(
            path,
            key,
            found=f"{len(bad)} labels that are NaN or infinite, the first in row {bad[0]}",
            expected="a finite number for every sample",
            do="remove these samples from the file, or label them",
        )
    return array


def lengths_of(value: Any, n: int, padded: int, path: Path, key: str, notes: list[str]) -> npt.NDArray[np.int32] | None:
    """Check the optional numbers of real frames; numbers above the stored T are cut to T with a note.

    Returns:
        (N,) int32 from 0 to ``padded``, or None without lengths.

    Raises:
        DataError: the rank or the count is wrong, or a length is negative or not whole.
    """
    if value is None:
        return None
    array = _numbers(value, path, key, rank=1, shape="(N,)")
    _check_n(array, n, path, key)
    if not np.all((array >= 0) & (array == np.rint(array))):
        odd = array[~((array >= 0) & (array == np.rint(array)))][0]
        raise data_error(
            path, key, found=f"the length {odd:g}", expected="whole numbers of frames from 0", do="correct or remove the lengths"
        )
    if np.any(array > padded):
        notes.append(f"{key}: {int(np.sum(array > padded))} lengths exceed the {padded} stored frames and are taken as {padded}")
    clipped: npt.NDArray[np.int32] = np.minimum(array, padded).astype(np.int32)
    return clipped


def tokens_of(value: Any, n: int, path: Path, key: str) -> npt.NDArray[np.int32] | None:
    """Check token ids, mask and segments.

    Returns:
        (N, 3, T) int32, or None without tokens.

    Raises:
        DataError: the shape is not (N, 3, T), values are not whole numbers from 0, or the mask has values other than 0 and 1.
    """
    if value is None:
        return None
    array = _numbers(value, path, key, rank=3, shape="(N, 3, T): token ids, mask, segments")
    _check_n(array, n, path, key)
    do = "tokenise the texts again with a BERT tokenizer, or leave text_bert out"
    if array.shape[1] != 3 or array.shape[2] == 0:
        raise data_error(path, key, found=f"shape {array.shape}", expected="(N, 3, T): token ids, mask, segments", do=do)
    if not np.all((array >= 0) & (array < 2**31) & (array == np.rint(array))):
        raise data_error(path, key, found="values that are negative, huge or not whole", expected="token ids, mask and segments", do=do)
    if np.any(array[:, 1] > 1):
        raise data_error(path, key, found=f"{array[:, 1].max():g} in the mask (second row)", expected="0 and 1", do=do)
    return np.ascontiguousarray(array, dtype=np.int32)


def strings_of(value: Any, path: Path, key: str, n: int | None = None) -> list[str]:
    """Check a list or rank-1 array of strings (or of numbers, which become strings).

    Raises:
        DataError: the value is something else, or does not have ``n`` items.
    """
    items = value.tolist() if isinstance(value, np.ndarray) and value.ndim == 1 else value
    if not isinstance(items, list | tuple) or not all(isinstance(x, str | bytes | int | np.str_ | np.integer) for x in items):
        found = _shape_of(value) if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        if isinstance(items, list | tuple):
            odd = next(x for x in items if not isinstance(x, str | bytes | int | np.str_ | np.integer))
            found += f" with a {type(odd).__name__} in it"
        raise data_error(path, key, found=found, expected="one string a sample", do="store it as a list of N strings")
    if n is not None and len(items) != n:
        raise _wrong_n(len(items), n, path, key)
    return [x.decode(errors="replace") if isinstance(x, bytes) else str(x) for x in items]


def _numbers(value: Any, path: Path, key: str, rank: int, shape: str) -> npt.NDArray[Any]:
    """Return the value as a numeric array of the rank; (N, 1) counts as rank 1."""
    do = "store it as one NumPy array of numbers"
    try:
        array = np.asarray(value)
    except Exception as error:  # ragged lists and the like
        found = f"a {type(value).__name__} that makes no array ({type(error).__name__}: {str(error)[:100]})"
        raise data_error(path, key, found=found, expected=f"numbers of shape {shape}", do=do) from None
    if array.dtype.kind not in "fiub":
        found = _shape_of(array) if array.ndim else f"a value of type {type(value).__name__}"
        if array.dtype.hasobject and array.ndim:
            do = "samples of different length must be padded with zeros to one length and stored as one numeric array"
        raise data_error(path, key, found=found, expected=f"a numeric array of shape {shape}", do=do)
    if rank == 1 and array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != rank:
        found = f"rank {array.ndim}, shape {array.shape}"
        raise data_error(path, key, found=found, expected=f"rank {rank}, shape {shape}", do="reshape the array")
    return array


def _check_n(array: Sized, n: int, path: Path, key: str) -> None:
    if len(array) != n:
        raise _wrong_n(len(array), n, path, key)


def _wrong_n(found: int, n: int, path: Path, key: str) -> Exception:
    split = key.split("/")[0]
    return data_error(
        path,
        key,
        found=f"{found} samples",
        expected=f"{n}, the number of {split}/id",
        do="make all arrays of a split hold the same samples in the same order",
    )


def _shape_of(array: npt.NDArray[Any]) -> str:
    kind = "an object array" if array.dtype.hasobject else f"an array of {array.dtype}"
    return f"{kind} of shape {array.shape}"
