import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from instruct.errors import DataError
from instruct.evaluation import bootstrap_interval, mean_interval, paired_test, reciprocal_interval

VALUES = arrays(np.float64, st.integers(2, 30), elements=st.floats(0, 1))


@given(VALUES)
def test_mean_interval_is_scipys_standard_error(values):
    interval = mean_interval(values)
    assert interval.n == len(values)
    assert interval.mean == pytest.approx(values.mean(), abs=1e-12)
    assert interval.ci95 == pytest.approx(1.96 * scipy.stats.sem(values), abs=1e-12)


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert mean_interval(np.array([0.3])).ci95 is None
    with pytest.raises(DataError, match="no study has a score"):
        mean_interval(np.array([]))


def test_reciprocal_has_all_three_intervals():
    values = np.array([1.0, 2.0, 3.0, 2.5, 1.5])
    raw, found = mean_interval(values), reciprocal_interval(values)
    assert found.value == pytest.approx(0.5)
    assert found.ci95_leaderboard == raw.ci95
    assert found.ci95_delta == pytest.approx(raw.ci95 / 4)
    assert found.mapped == pytest.approx((1 / (2 + raw.ci95), 1 / (2 - raw.ci95)))


def test_reciprocal_is_of_the_mean_not_the_mean_of_reciprocals():
    assert reciprocal_interval(np.array([0.5, 1.5])).value == pytest.approx(1.0)


def test_reciprocal_stops_at_the_pole():
    below = reciprocal_interval(np.array([-1.4, -1.2]))
    assert below.value is None
    assert below.mapped is None
    near = reciprocal_interval(np.array([-1.0, 1.1]))
    assert near.value == pytest.approx(20)
    assert near.mapped is None


def test_delta_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(400):
        found = reciprocal_interval(random.normal(1.2, 0.5, 300))
        assert found.value is not None and found.ci95_delta is not None
        hits += abs(found.value - 1 / 1.2) <= found.ci95_delta
    assert 0.92 <= hits / 400 <= 0.98


def test_bootstrap_of_a_mean_agrees_with_theory_and_repeats():
    values = np.random.default_rng(1).normal(0.4, 0.1, 400)
    theory = mean_interval(values)
    low, high = bootstrap_interval((values,), np.mean, name="x", seed=3, resamples=20_000)
    # The interval of 90 % has a half width of 0.84 of this one.
    assert low == pytest.approx(theory.mean - theory.ci95, abs=0.05 * theory.ci95)
    assert high == pytest.approx(theory.mean + theory.ci95, abs=0.05 * theory.ci95)
    low, high = bootstrap_interval((values,), np.mean, name="x", seed=3)
    assert bootstrap_interval((values,), np.mean, name="x", seed=3) == (low, high)
    assert bootstrap_interval((values,), np.mean, name="x", seed=4) != (low, high)
    assert bootstrap_interval((values,), np.mean, name="y", seed=3) != (low, high)


def test_bootstrap_keeps_rows_together_and_needs_two():
    a = np.arange(20.0)
    low, high = bootstrap_interval((a, 2 * a), lambda x, y: float(np.corrcoef(x, y)[0, 1]), name="r")
    assert low == pytest.approx(1)
    assert high == pytest.approx(1)
    assert bootstrap_interval((a[:1],), np.mean, name="r") is None
    assert bootstrap_interval((a,), lambda x: math.nan, name="r") is None


def test_paired_test_finds_a_difference_and_only_then():
    random = np.random.default_rng(2)
    base = random.normal(0, 1, 200)
    better = base + 0.2 + random.normal(0, 0.3, 200)
    found = paired_test(better, base, seed=1)
    assert found.difference == pytest.approx((better - base).mean())
    assert found.p_value == pytest.approx(1 / 10_001)
    assert paired_test(base, base).p_value == 1.0
    noise = paired_test(base + random.normal(0, 0.3, 200), base, seed=1)
    assert noise.p_value > 0.05


def test_paired_test_agrees_with_the_exact_permutation_test():
    a, b = np.array([0.9, 0.4, 0.7, 0.8, 0.2, 0.6]), np.array([0.5, 0.5, 0.3, 0.6, 0.1, 0.2])
    exact = scipy.stats.permutation_test(
        (a, b), lambda x, y: np.mean(x) - np.mean(y), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert paired_test(a, b, trials=40_000).p_value == pytest.approx(exact, abs=0.01)


def test_paired_test_leaves_out_rows_without_both_scores():
    a, b = np.array([1.0, np.nan, 0.5]), np.array([0.0, 1.0, 0.5])
    assert paired_test(a, b).n == 2
    with pytest.raises(DataError, match="same studies: 2 scores against 3"):
        paired_test(a[:2], b)
    with pytest.raises(DataError, match="no study has a score from both"):
        paired_test(np.array([np.nan]), np.array([1.0]))
