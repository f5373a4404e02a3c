"""Statistics of a few seeds: mean, spread, interval, paired difference, Holm's correction of several tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """A two-sided interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """A metric over seeds.

    Attributes:
        n: number of seeds.
        mean: mean over the seeds.
        std: sample standard deviation (n - 1); None for one seed.
        interval: 95 % interval of the mean by Student's t; None for one seed.
    """

    n: int
    mean: float
    std: float | None
    interval: Interval | None


@dataclass(frozen=True)
class Difference:
    """A paired difference over the same seeds.

    Attributes:
        n: number of pairs.
        mean: mean of a - b.
        interval: 95 % interval of that mean by Student's t; None for one pair.
        p: two-sided p-value of the paired t-test; 1 if every difference is 0; None if the test is undefined (one pair, or all
            differences equal but not 0).
    """

    n: int
    mean: float
    interval: Interval | None
    p: float | None


def summarise(values: Sequence[float], level: float = 0.95) -> Summary:
    """Return mean, standard deviation and interval mean ± t_(n-1) std / sqrt(n) over seeds.

    The interval concerns further seeds on the same test split; `dhmd.evaluation.resampling` adds the variance due to the split.

    Raises:
        ValueError: there are no values.

    Example:
        >>> found = summarise([82.0, 83.0, 81.0])
        >>> found.mean, found.std, round(found.interval.low, 2), round(found.interval.high, 2)
        (82.0, 1.0, ...79.52..., ...84.48...)
    """
    x = np.asarray(values, np.float64)
    if x.size == 0:
        raise ValueError("no value to summarise")
    mean = float(x.mean())
    if x.size == 1:
        return Summary(1, mean, None, None)
    std = float(x.std(ddof=1))
    half = float(stats.t.ppf((1 + level) / 2, x.size - 1)) * std / np.sqrt(x.size)
    return Summary(x.size, mean, std, Interval(mean - half, mean + half))


def paired_difference(a: Sequence[float], b: Sequence[float], level: float = 0.95) -> Difference:
    """Return the paired t-test of a metric of two systems, value i of both from the same seed.

    Raises:
        ValueError: the numbers of values differ, or there are none.
    """
    if len(a) != len(b):
        raise ValueError(f"found {len(a)} and {len(b)} values, expected one of each for every seed")
    d = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    over_seeds = summarise(d.tolist(), level)
    if not d.any():
        p: float | None = 1.0
    elif over_seeds.n == 1 or np.ptp(d) <= 1e-12 * np.abs(d).max():  # differences are equal except for rounding
        p = None
    else:
        p = float(stats.ttest_1samp(d, 0.0).pvalue)
    return Difference(over_seeds.n, over_seeds.mean, over_seeds.interval, p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down correction, in the given order.

    Rejecting those below alpha keeps the family-wise error below alpha.

    With p sorted, adjusted_(i) = max over j <= i of min(1, (m - j) p_(j)), j counted from 0.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p)
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return [float(x) for x in adjusted]
