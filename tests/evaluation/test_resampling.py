"""Draws of videos, bootstrap intervals and the paired test, held to numbers derived by hand and to simulation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from dhmd.evaluation.metrics import regression_metrics
from dhmd.evaluation.resampling import bootstrap_interval, crossed_test, draw_metrics


def mean_of_prediction(prediction, label):
    return {"mean": float(np.mean(prediction))}


def absolute_error(prediction, label):
    return {"mae": float(np.abs(prediction - label).mean())}


def simulated(generator, seeds, videos, clips=7, *, seed_sd=0.0, video_sd=0.0, clip_sd=0.0, rest_sd=0.0, draws=200):
    """Mean differences by seed whose truth is 0, and their values on draws of videos: seeds, videos, clips and the rest each vary."""
    x = generator.normal(0, seed_sd, (seeds, 1, 1)) + generator.normal(0, video_sd, (1, videos, 1))
    x = x + generator.normal(0, clip_sd, (1, videos, clips)) + generator.normal(0, rest_sd, (seeds, videos, clips))
    times = generator.multinomial(videos, np.full(videos, 1 / videos), draws)
    return x.mean((1, 2)), x.mean(2) @ times.T / videos


def test_draws_take_whole_videos():
    seen = []

    def remember(prediction, label):
        seen.append(sorted(prediction))
        return {"n": float(len(prediction))}

    drawn = draw_metrics([np.array([0, 1, 10, 11, 12, 20])], np.zeros(6), np.array([0, 0, 1, 1, 1, 2]), remember, resamples=50)
    assert drawn["n"].shape == (1, 50)
    for one in seen:
        times = [one.count(x) for x in (0, 10, 20)]
        assert sum(times) == 3
        assert one == sorted([0, 1] * times[0] + [10, 11, 12] * times[1] + [20] * times[2])


def test_runs_drawn_apart_stay_paired():
    generator = np.random.default_rng(0)
    label, video = generator.normal(size=40), np.arange(40) // 4
    runs = [label + generator.normal(size=40) for _ in range(2)]
    together = draw_metrics(runs, label, video, regression_metrics, resamples=20)
    apart = [draw_metrics([run], label, video, regression_metrics, resamples=20) for run in runs]
    for name, values in together.items():
        assert values.tolist() == [a[name][0].tolist() for a in apart]
    other = draw_metrics(runs, label, video, regression_metrics, resamples=20, seed=1)
    assert other["mae"].tolist() != together["mae"].tolist()


def test_bootstrap_of_one_seed_has_the_standard_error_of_the_mean():
    # metric = mean of N values: the bootstrap's spread is s / sqrt(N), its 95 % interval ± 1.96 of it
    x = np.random.default_rng(1).normal(size=400)
    interval = bootstrap_interval(draw_metrics([x], x, np.arange(400), mean_of_prediction, resamples=2000)["mean"])
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * x.std() / 20, rel=0.08)
    assert (interval.high + interval.low) / 2 == pytest.approx(x.mean(), abs=0.01)


def test_bootstrap_gives_seeds_their_whole_variance():
    # nothing varies between samples, seeds give 0..9: the spread is std(n - 1) / sqrt(10), not std(n) / sqrt(10)
    interval = bootstrap_interval(np.repeat(np.arange(10.0)[:, None], 4000, axis=1))
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * np.arange(10).std(ddof=1) / math.sqrt(10), rel=0.03)
    assert (interval.high + interval.low) / 2 == pytest.approx(4.5, abs=0.1)


def test_bootstrap_covers_the_truth_where_seeds_and_samples_vary():
    generator = np.random.default_rng(2)
    drawn = [simulated(generator, 5, 40, seed_sd=0.2, clip_sd=2.5, rest_sd=2)[1] for _ in range(400)]
    intervals = [bootstrap_interval(m, seed=i) for i, m in enumerate(drawn)]
    assert 0.90 < np.mean([i.low <= 0 <= i.high for i in intervals]) < 0.99


def test_the_paired_test_by_hand():
    # d = 1, 3: A = 2 / 2 = 1. Rows of draws (0, 2) and (0, 2): covariance 2, times G / (G - 1) = 2: C = 4.
    # Both quantiles have 1 degree of freedom, where t is Cauchy: p = 1 - 2 atan(2 / sqrt 5) / pi, t = 12.7062.
    found = crossed_test([1.0, 3.0], [[0.0, 2.0], [0.0, 2.0]], videos=2)
    assert (found.mean, found.error) == pytest.approx((2, math.sqrt(5)))
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(2 / math.sqrt(5)))
    assert found.interval.high - 2 == pytest.approx(12.7062 * math.sqrt(5), rel=1e-5)
    assert 2 - found.interval.low == pytest.approx(found.interval.high - 2)


def test_without_variation_of_samples_it_is_the_paired_t_test():
    d = [0.3, 0.1, 0.25, 0.4]
    found = crossed_test(d, np.repeat(np.array(d)[:, None], 10, axis=1), videos=30)
    assert found.p == pytest.approx(ttest_1samp(d, 0).pvalue, rel=1e-9)


def test_without_variation_of_seeds_it_is_the_t_test_over_videos():
    generator = np.random.default_rng(3)
    video = generator.normal(0.3, 1, 40)
    drawn = video @ generator.multinomial(40, np.full(40, 1 / 40), 20000).T / 40
    found = crossed_test([video.mean()] * 3, [drawn] * 3, videos=40)
    assert found.p == pytest.approx(ttest_1samp(video, 0).pvalue, rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize(
    "sds",
    [
        {"seed_sd": 1.0},
        {"clip_sd": 3.0, "rest_sd": 0.1},
        {"rest_sd": 1.0},
        {"seed_sd": 0.5, "video_sd": 0.5, "clip_sd": 3.0, "rest_sd": 3.0},
    ],
    ids=["seeds", "samples", "chance", "all"],
)
def test_equal_systems_are_told_apart_in_one_of_twenty_at_most(seeds, sds):
    generator = np.random.default_rng(4)
    p = [crossed_test(*simulated(generator, seeds, 40, **sds), videos=40).p for _ in range(600)]
    assert np.mean(np.array(p) < 0.05) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 600)


def test_a_true_difference_is_found():
    generator = np.random.default_rng(5)
    found = []
    for _ in range(100):
        d, drawn = simulated(generator, 5, 40, seed_sd=0.2, clip_sd=1, rest_sd=1)
        found.append(crossed_test(d + 1, drawn + 1, videos=40).p < 0.05)
    assert np.mean(found) > 0.9


DIFFERENCES = st.lists(st.floats(-1, 1), min_size=2, max_size=6)


@settings(max_examples=30)
@given(DIFFERENCES, st.integers(0, 100), st.randoms())
def test_order_of_seeds_and_exchange_of_systems(d, number, chance):
    drawn = np.random.default_rng(number).normal(size=(len(d), 30)) + np.array(d)[:, None]
    order = list(range(len(d)))
    chance.shuffle(order)
    found, shuffled, exchanged = (
        crossed_test(*x, videos=9) for x in ((d, drawn), (np.array(d)[order], drawn[order]), (-np.array(d), -drawn))
    )
    if found is None:  # equal differences that no seed and no sample changes
        assert shuffled is None
        assert exchanged is None
        return
    assert (shuffled.mean, shuffled.error, shuffled.p) == pytest.approx((found.mean, found.error, found.p), abs=1e-9)
    assert (exchanged.mean, exchanged.p) == pytest.approx((-found.mean, found.p), abs=1e-9)
    assert exchanged.interval.low == pytest.approx(-found.interval.high, abs=1e-9)
    assert (found.p < 0.05) == (found.interval.low > 0 or found.interval.high < 0)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.floats(-5, 5))
def test_a_constant_added_to_both_changes_nothing(number, constant):
    generator = np.random.default_rng(number)
    label, video = generator.normal(size=30), np.arange(30) // 3
    a, b = (label + generator.normal(size=(3, 30)) for _ in range(2))

    def test_of(shift):
        drawn = [draw_metrics(x + shift, label + shift, video, absolute_error, resamples=20)["mae"] for x in (a, b)]
        d = np.abs(a - label).mean(1) - np.abs(b - label).mean(1)
        return crossed_test(d, drawn[0] - drawn[1], videos=10)

    one, other = test_of(0.0), test_of(constant)
    assert (one.mean, one.error, one.p) == pytest.approx((other.mean, other.error, other.p), abs=1e-7)


def test_what_nothing_can_be_said_about():
    assert crossed_test([0.1], [[0.1, 0.2]], videos=5) is None
    assert crossed_test([0.1, 0.2], [[0.1, 0.2]] * 2, videos=1) is None
    assert crossed_test([0.1, 0.1], [[0.1, 0.1]] * 2, videos=5) is None
    assert crossed_test([0.0, 0.0], [[0.0, 0.0]] * 2, videos=5).p == 1
    assert crossed_test([1.0, 1.0 + 1e-7], [[1.0, 1.0 + 1e-7]] * 2, videos=50).p >= 1e-15


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one a sample"):
        draw_metrics([np.zeros(4)], np.zeros(5), np.zeros(5, int), mean_of_prediction)
    with pytest.raises(ValueError, match="one a sample"):
        draw_metrics([np.zeros(5)], np.zeros(5), np.zeros(4, int), mean_of_prediction)
    with pytest.raises(ValueError, match="a row for each seed"):
        bootstrap_interval(np.zeros(5))
    with pytest.raises(ValueError, match="two draws for each seed"):
        crossed_test([1.0, 2.0], np.zeros((3, 5)), videos=3)
