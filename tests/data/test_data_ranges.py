"""Real frames: invariants."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from dhmd.batch import real_frames
from dhmd.data.sources.frames import real_ranges
from dhmd.data.sources.lazy_array import Features


@st.composite
def padded(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features (N, T, d), and for each sample its first frame and its number of frames, some of them zero inside."""
    n, length, width = draw(st.integers(1, 5)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    frames = np.array([draw(st.integers(0, length)) for _ in range(n)])
    first = np.array([draw(st.integers(0, length - f)) if f else 0 for f in frames])
    x = np.zeros((n, length, width), np.float32)
    for i in range(n):
        for t in range(first[i], first[i] + frames[i]):
            edge = t in (first[i], first[i] + frames[i] - 1)
            x[i, t, draw(st.integers(0, width - 1))] = draw(st.sampled_from([1.0, -2.0, -np.inf, np.nan] if edge else [0.0, 1.0]))
    return x, first, frames


@given(padded())
def test_without_lengths_the_frames_between_the_zero_ends_are_real(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, first, frames = case
    real, fits = real_ranges(Features(x), None)
    assert fits
    np.testing.assert_array_equal(real, np.stack([np.where(frames, first, 0), first + frames], axis=1) * (frames > 0)[:, None])


@given(padded())
def test_the_same_frames_as_the_batch_infers(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x = case[0]
    real, _ = real_ranges(Features(x), None)
    t = np.arange(x.shape[1])
    np.testing.assert_array_equal((t >= real[:, :1]) & (t < real[:, 1:]), real_frames(torch.from_numpy(x)).numpy())


@given(padded(), st.booleans(), st.data())
def test_lengths_say_the_side_and_may_include_zero_frames(
    case: tuple[np.ndarray, np.ndarray, np.ndarray], left: bool, data: st.DataObject
) -> None:
    x, first, frames = case
    length = x.shape[1]
    x = x[:, ::-1] if left else x
    least = first + frames
    lengths = np.array([data.draw(st.integers(int(n), length)) for n in least], np.int32)
    real, fits = real_ranges(Features(np.ascontiguousarray(x)), lengths)
    assert fits
    on_right = np.stack([np.zeros_like(lengths), lengths], axis=1)
    on_left = np.stack([length - lengths, np.full_like(lengths, length)], axis=1)
    right_fits = not any(x[i, n:].any() for i, n in enumerate(lengths))
    np.testing.assert_array_equal(real, on_right if right_fits else on_left)
    assert right_fits or left


@given(padded())
def test_nothing_beyond_the_real_frames(case: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, _, frames = case
    for lengths in (None, np.zeros(len(x), np.int32), frames.astype(np.int32)):
        real, _ = real_ranges(Features(x), lengths)
        for sample, (first, stop) in zip(x, real, strict=True):
            assert not (sample[:first] != 0).any()
            assert not (sample[stop:] != 0).any()
