import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.synth.keyed import Draws
from instruct.synth.quota import apportion, assign_sized, choose, scatter, share


@given(st.integers(0, 10_000), st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_apportion_adds_up_and_stays_within_one(total, weights):
    counts = apportion(total, weights)
    assert sum(counts) == total
    for count, weight in zip(counts, weights, strict=True):
        assert abs(count - total * weight / sum(weights)) < 1 + 1e-6


def test_apportion_of_the_whole_is_the_weights():
    weights = [2784, 405, 382, 150, 88, 6, 14, 1]
    assert apportion(sum(weights), weights) == weights


def test_apportion_gives_one_to_the_asked_as_long_as_there_is_enough():
    assert apportion(10, [97, 1, 1, 1], (1, 2)) == [8, 1, 1, 0]
    assert apportion(2, [97, 1, 1, 1], (3, 1)) == [1, 0, 0, 1]
    assert apportion(0, [1, 1], (0, 1)) == [0, 0]


@pytest.mark.parametrize(
    ("part", "whole", "n", "expected"), [(1, 16, 20, 1), (1, 2, 5, 3), (1, 3, 3, 1), (5, 2, 10, 25)]
)
def test_share_rounds_half_up(part, whole, n, expected):
    assert share(part, whole, n) == expected
    assert share(part, whole, n, at_least=4) == max(4, expected)


def test_scatter_and_choose_are_exact():
    draws = Draws(0, "t")
    kinds = scatter(draws, "a", [5, 0, 7])
    assert np.bincount(kinds, minlength=3).tolist() == [5, 0, 7]
    assert kinds.tolist() != sorted(kinds.tolist())
    picked = choose(draws, "b", np.arange(100, 200), 30)
    assert len(set(picked.tolist())) == 30
    assert set(choose(draws, "b", np.arange(3), 30).tolist()) == {0, 1, 2}


@pytest.mark.parametrize("seed", range(5))
def test_sized_groups_meet_quotas(seed):
    draws = Draws(seed, "t")
    sizes = np.array([1] * 300 + [2] * 60 + [5] * 8)
    quotas = [230, 150, 70, 10]
    kinds = assign_sized(draws, "k", sizes, quotas)
    assert np.bincount(kinds, weights=sizes, minlength=4).tolist() == quotas


def test_sized_groups_without_singles_still_all_get_a_kind():
    kinds = assign_sized(Draws(0, "t"), "k", np.array([3, 3, 2, 1]), [5, 4])
    assert set(kinds.tolist()) <= {0, 1}
