"""Statistics over features, computed a block of samples at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from dhmd.data.sources.frames import CHUNK

VALUES = 4_000_000  # samples processed together in float64

FEW = 10
"""Minimum size of a split; smaller ones are reported."""


def count_non_finite(x: npt.NDArray[np.float32]) -> tuple[int, int]:
    """Count the NaN and infinite values of (N, T, d), and the frames that have some."""
    values = frames = 0
    for at in range(0, len(x), CHUNK):
        bad = ~np.isfinite(x[at : at + CHUNK])
        values += int(bad.sum())
        frames += int(bad.any(axis=2).sum())
    return values, frames


def varies(statistics: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return a mask of the features that vary, from (3, d) count, mean and deviation."""
    _, mean, std = statistics
    found: npt.NDArray[np.bool_] = std > 1e-6 * np.abs(mean)
    return found


class FrameStatistics:
    """Count, mean and standard deviation of each feature over the finite values of all real frames added so far, in float64.

    Args:
        width: number of features d.
    """

    def __init__(self, width: int) -> None:
        self._total = np.zeros((3, width))  # count, mean, sum of squares about the mean

    def add(self, x: npt.NDArray[np.float32], real: npt.NDArray[np.int32]) -> None:
        """Add samples (N, T, d) whose real frames are ``real`` (N, 2)."""
        frame = np.arange(x.shape[1])
        step = min(CHUNK, max(1, VALUES // (x.shape[1] * x.shape[2])))
        for at in range(0, len(x), step):
            first, stop = real[at : at + step, :1], real[at : at + step, 1:]
            frames = x[at : at + step][(frame >= first) & (frame < stop)].astype(np.float64)
            self._total = _merge(self._total, frames)

    def result(self) -> npt.NDArray[np.float64]:
        """Return (3, d) count, mean, deviation; a feature without values has 0 in all three."""
        count, mean, squares = self._total
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


def few_samples(sizes: Mapping[str, int]) -> list[str]:
    """Return a sentence for each of valid and test that is too small to be informative; sizes are samples by split."""
    told = {"valid": "which epoch is best is chosen nearly by chance", "test": "results on them say little"}
    return [f"{s} has only {sizes[s]} samples: {what}" for s, what in told.items() if 0 < sizes.get(s, 0) < FEW]
