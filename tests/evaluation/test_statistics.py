"""Statistics held to their textbook forms, to scipy and to simulation."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_rel

from dhmd.evaluation.statistics import holm, paired_difference, summarise


def test_summary_by_hand():
    # squares of 1..5 around 3: 4 + 1 + 0 + 1 + 4 = 10, / 4 = 2.5; t of 4 degrees of freedom at 97.5 % is 2.7764
    summary = summarise([1, 2, 3, 4, 5])
    assert (summary.n, summary.mean) == (5, 3.0)
    assert summary.std == pytest.approx(math.sqrt(2.5))
    assert summary.interval.high - 3 == pytest.approx(2.7764 * math.sqrt(2.5 / 5), rel=1e-4)
    assert 3 - summary.interval.low == pytest.approx(summary.interval.high - 3)


def test_one_seed_has_no_spread():
    summary = summarise([0.84])
    assert (summary.n, summary.mean, summary.std, summary.interval) == (1, 0.84, None, None)
    with pytest.raises(ValueError, match="no value"):
        summarise([])


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(0.8, 0.02, (2000, 5))
    intervals = [summarise(x).interval for x in draws]
    covered = np.mean([i.low <= 0.8 <= i.high for i in intervals])
    assert covered == pytest.approx(0.95, abs=3 * math.sqrt(0.95 * 0.05 / 2000))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=8))
def test_paired_difference_is_scipys(pairs):
    a, b = zip(*pairs, strict=True)
    d = np.subtract(a, b)
    if np.ptp(d) < 1e-6:
        return
    ours, theirs = paired_difference(a, b), ttest_rel(a, b)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
    interval = theirs.confidence_interval(0.95)
    assert (ours.interval.low, ours.interval.high) == pytest.approx((interval.low, interval.high))
    assert (ours.p < 0.05) == (ours.interval.low > 0 or ours.interval.high < 0)


def test_differences_a_t_test_says_nothing_about():
    assert paired_difference([1, 2], [1, 2]).p == 1.0
    assert paired_difference([1.0], [0.5]).p is None
    assert paired_difference([0.9, 0.8, 0.7], [0.8, 0.7, 0.6]).p is None
    with pytest.raises(ValueError, match="2 and 1"):
        paired_difference([1, 2], [1])


def test_holm_by_hand():
    # sorted .01 .02 .03 .04 times 4 3 2 1 = .04 .06 .06 .04, made monotone: .04 .06 .06 .06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(0.001, 0.5))
def test_holm_rejects_what_the_closure_of_bonferroni_tests_rejects(p, alpha):
    """Holm's procedure rejects i exactly when Bonferroni rejects every intersection of hypotheses that contains i."""
    m, adjusted = len(p), holm(p)
    for i in range(m):
        subsets = [s for r in range(1, m + 1) for s in itertools.combinations(range(m), r) if i in s]
        margin = min(abs(adjusted[i] - alpha), *(abs(len(s) * min(p[j] for j in s) - alpha) for s in subsets))
        if margin > 1e-9:  # a tie at alpha is decided by rounding
            assert (adjusted[i] <= alpha) == all(min(p[j] for j in s) * len(s) <= alpha for s in subsets)
