"""Uncertainty due to the test samples: draws of whole videos, an interval of a mean, and a test of a paired difference.

Seeds and samples are crossed: every seed's network is tested on every sample. A mean over S seeds and N samples varies for two
reasons then, and more seeds take away the first only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.optimize import brentq

from dhmd.evaluation.metrics import MetricFunction
from dhmd.evaluation.statistics import Interval

Array = NDArray[Any]
RESAMPLES = 1000


@dataclass(frozen=True)
class CrossedTest:
    """A paired difference over common seeds and common samples.

    Attributes:
        mean: mean of the differences over seeds.
        error: standard error of the mean, due to seeds and samples.
        interval: 95 % interval of the difference.
        p: two-sided p-value, not below 1e-15; 1 if every difference is 0.
    """

    mean: float
    error: float
    interval: Interval
    p: float


def draw_metrics(
    predictions: Sequence[Any], label: Any, video: Any, function: MetricFunction, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Array]:
    """Return each run's metrics on resampled test splits: as many videos as there are, drawn with replacement, each with all its samples.

    Samples of one video share a speaker, a camera and a topic: drawing single samples would underestimate the uncertainty.
    The same videos, ``resamples`` and ``seed`` give the same draws, so that runs drawn apart stay paired.

    Args:
        predictions: S arrays (N,) or (N, C), with the samples in the same order.
        label: (N,).
        video: (N,) number of each sample's video, from 0; distinct numbers draw single samples.
        function: function from prediction and label to named metrics (`dhmd.evaluation.metrics.metrics_for`).
        resamples: number of draws B.
        seed: seed of the draws.

    Returns:
        (S, B) values of each metric.

    Raises:
        ValueError: shapes do not fit.
    """
    p, y, group = [np.asarray(x) for x in predictions], np.asarray(label), np.asarray(video)
    if not p or any(x.ndim < 1 or len(x) != len(y) for x in p) or group.shape != y.shape:
        raise ValueError(f"found predictions {[x.shape for x in p]}, labels {y.shape}, videos {group.shape}; expected one a sample of each")
    members = [np.flatnonzero(group == g) for g in np.unique(group)]
    generator = np.random.default_rng(seed)
    draws: dict[str, list[list[float]]] = {}
    for _ in range(resamples):
        chosen = np.concatenate([members[g] for g in generator.integers(len(members), size=len(members))])
        for s, prediction in enumerate(p):
            for name, value in function(prediction[chosen], y[chosen]).items():
                draws.setdefault(name, [[] for _ in p])[s].append(value)
    return {name: np.array(values) for name, values in draws.items()}


def bootstrap_interval(drawn: Any, level: float = 0.95, seed: int = 0) -> Interval:
    """Return the percentile interval of a mean over seeds: seeds and test samples are both drawn anew with replacement.

    With m_sb metric of seed s on draw b of the samples and s*_1..s*_S seeds drawn with replacement, the quantiles are of
    mean_s m_sb + sqrt(S / (S - 1)) (mean_k m_{s*_k b} - mean_s m_sb): the factor gives seeds their variance, which drawing S of S
    makes (S - 1) / S of it (Rao and Wu, JASA 1988). Of three or four seeds it is still narrower than Student's interval.

    Args:
        drawn: (S, B) from `draw_metrics`; with one seed, only samples are drawn.
        level: coverage of the interval.
        seed: seed of the draws of seeds.

    Raises:
        ValueError: shapes do not fit.
    """
    m = np.asarray(drawn, np.float64)
    if m.ndim != 2 or m.size == 0:
        raise ValueError(f"found draws {m.shape}, expected a row for each seed")
    n_seeds, n_draws = m.shape
    mean = m.mean(0)
    if n_seeds > 1:
        chosen = np.random.default_rng(seed).integers(n_seeds, size=(n_seeds, n_draws))
        mean = mean + np.sqrt(n_seeds / (n_seeds - 1)) * (np.take_along_axis(m, chosen, 0).mean(0) - mean)
    low, high = np.quantile(mean, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def crossed_test(differences: Sequence[float], drawn: Any, videos: int, level: float = 0.95) -> CrossedTest | None:
    """Test the paired difference of two systems over the same seeds and samples, for further seeds and further videos.

    d_s is the difference of a metric under seed s, d_sb the same on draw b of the videos. With S seeds and G videos::

        T  = mean_s d_s
        A  = var_s(d_s) / S                                          (S - 1 in the variance: seeds, and seeds x samples)
        C  = max(0, mean_{s != s'} cov_b(d_sb, d_s'b)) G / (G - 1)   (what samples do to all seeds alike)
        interval  T +- sqrt(t_{S-1}^2 A + t_{G-1}^2 C)               (t of k degrees of freedom at 1 - alpha / 2)
        p  = the alpha whose interval just reaches 0

    The two variances are those of Obuchowski and Rockette (1995) for readers x cases, with seeds as readers, videos as cases and the
    covariance from the bootstrap. Each has a quantile of its own (the modified large-sample interval of Graybill and Wang, 1980):
    with two or three seeds, one t with Satterthwaite's degrees of freedom rejects too often.

    Args:
        differences: (S,).
        drawn: (S, B).
        videos: G.
        level: coverage of the interval, 1 - alpha.

    Returns:
        The test; None if there is only one seed or one video, or if the difference is not 0 and the same for all seeds and draws.

    Raises:
        ValueError: shapes do not fit.
    """
    d, m = np.asarray(differences, np.float64), np.asarray(drawn, np.float64)
    if d.ndim != 1 or len(d) == 0 or m.ndim != 2 or len(m) != len(d) or m.shape[1] < 2:
        raise ValueError(f"found differences {d.shape} and draws {m.shape}, expected a row of at least two draws for each seed")
    n_seeds, mean = len(d), float(d.mean())
    if n_seeds == 1 or videos < 2:
        return None
    covariance = np.cov(m)
    shared = (covariance.sum() - np.trace(covariance)) / (n_seeds * (n_seeds - 1))
    a, c = float(d.var(ddof=1)) / n_seeds, max(0.0, float(shared)) * videos / (videos - 1)
    error = float(np.sqrt(a + c))
    if error <= 1e-9 * max(abs(mean), 1e-3):  # differences are equal except for rounding
        return CrossedTest(0.0, 0.0, Interval(0.0, 0.0), 1.0) if abs(mean) < 1e-12 else None

    def half(alpha: float) -> float:
        seeds, samples = stats.t.isf(alpha / 2, [n_seeds - 1, videos - 1])
        return float(np.sqrt(seeds**2 * a + samples**2 * c))

    width = half(1 - level)
    least = np.log(1e-15)
    p = 1e-15 if half(1e-15) < abs(mean) else float(np.exp(brentq(lambda x: half(np.exp(x)) - abs(mean), least, 0.0)))
    return CrossedTest(mean, error, Interval(mean - width, mean + width), p)
