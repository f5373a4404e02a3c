"""Reading of npy files from untrusted sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dhmd.data.progress import progress
from dhmd.errors import data_error


def load_npy(path: Path, if_missing: str = "add it, or take its line out of the csv") -> npt.NDArray[Any]:
    """Map an npy file of numbers into memory, read-only; nothing in it is unpickled.

    Args:
        path: path of the file.
        if_missing: advice for a missing file.

    Raises:
        DataError: the file is no npy file, holds objects or records, or is shorter than its header declares.
    """
    do = "save it with numpy.save as one array of numbers, samples of different length zero-padded"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise data_error(path, "", found="no such file", expected="an npy file", do=if_missing) from None
    except Exception as error:  # a damaged header can raise nearly any exception
        what = "an array of Python objects" if "Python objects" in str(error) or "Object arrays" in str(error) else "no readable npy file"
        raise data_error(path, "", found=f"{what} ({str(error)[:200]})", expected="an npy file with one array of numbers", do=do) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        found = f"an array of {array.dtype}" if isinstance(array, np.ndarray) else "an archive of several arrays"
        raise data_error(path, "", found=found, expected="an npy file with one array of numbers", do=do)
    return array


def load_samples(folder: Path, ids: Sequence[str]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Read ``<id>.npy`` (T_i, d) or (d,) of every sample.

    Args:
        folder: the sub-folder of a folder of arrays that holds the files.
        ids: ids of the samples.

    Returns:
        (N, T, d), padded with zeros on the right, and the lengths (N,).

    Raises:
        DataError: a file is missing or of another width.
    """
    listed = any(folder.parent.glob("*.csv"))
    do = "add it, or " + ("take its line out of the csv" if listed else "a csv with the column id, which says which samples there are")
    with progress(f"reading {folder.name}", len(ids), "samples") as advance:
        samples: list[npt.NDArray[np.float32]] = []
        for name in ids:
            path = folder / f"{name}.npy"
            if path.parent != folder:
                raise data_error(path, "", found=f"the id {name!r}", expected="an id that can be a file name", do="rename the sample")
            x = load_npy(path, do)
            x = np.asarray(x[None] if x.ndim == 1 else x, np.float32)  # read at once: thousands of open maps would be too many
            if x.ndim != 2 or 0 in x.shape or (samples and x.shape[1] != samples[0].shape[1]):
                width = f"width {samples[0].shape[1]} as in {ids[0]}.npy" if samples else "at least one frame and one feature"
                raise data_error(path, "", found=f"shape {x.shape}", expected=f"(T, d) with {width}", do="extract the features again")
            samples.append(x)
            advance(1)
    lengths = np.array([len(x) for x in samples])
    out = np.zeros((len(samples), lengths.max(initial=1), samples[0].shape[1] if samples else 1), np.float32)
    for row, x in zip(out, samples, strict=True):
        row[: len(x)] = x
    return out, lengths
