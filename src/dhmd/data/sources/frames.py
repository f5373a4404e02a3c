"""Real frames of samples: from lengths if these fit, else from the zero frames at both ends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dhmd.data.sources.lazy_array import Features

CHUNK = 512  # samples processed together, so that the intermediate arrays stay small


def real_ranges(x: Features, lengths: npt.NDArray[np.int32] | None) -> tuple[npt.NDArray[np.int32], bool]:
    """Find the real frames of each sample.

    Lengths mean padding on the right, or on the left if the features show that. Lengths are ignored if they leave non-zero frames
    outside on either side. Without lengths, the real frames are those from the first to the last frame that is not all zero.

    Args:
        x: (N, T, d).
        lengths: (N,) from 0 to T, or None.

    Returns:
        (N, 2) the first real frame and the one after the last, (0, 0) for a sample without any; and whether the lengths fit.
    """
    first, stop = _nonzero_ends(x)
    inferred = np.stack([first, stop], axis=1).astype(np.int32)
    if lengths is None:
        return inferred, True
    padded = x.shape[1]
    if np.all(stop <= lengths):
        return np.stack([np.zeros_like(lengths), lengths], axis=1).astype(np.int32), True
    if np.all((first >= padded - lengths) | (stop == 0)):
        return np.stack([padded - lengths, np.full_like(lengths, padded)], axis=1).astype(np.int32), True
    return inferred, False


def _nonzero_ends(x: Features) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    n, padded, _ = x.shape
    first, stop = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for at in range(0, n, CHUNK):
        nonzero = (x.rows(at, at + CHUNK).read() != 0).any(axis=2)
        some = nonzero.any(axis=1)
        first[at : at + CHUNK] = np.where(some, nonzero.argmax(axis=1), 0)
        stop[at : at + CHUNK] = np.where(some, padded - nonzero[:, ::-1].argmax(axis=1), 0)
    return first, stop
