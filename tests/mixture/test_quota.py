from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.mixture.quota import decimal, quotas

WEIGHTS = st.lists(st.one_of(st.integers(0, 10**6), st.floats(0, 1e6, allow_subnormal=False)), min_size=1, max_size=12)
CAPS = st.one_of(st.none(), st.integers(0, 500))


@given(st.integers(0, 10**7), WEIGHTS)
def test_numbers_add_up_and_are_the_exact_shares_rounded_down_or_up(total, weights):
    exact = [Fraction(weight) for weight in weights]
    if not any(exact):
        if total:
            with pytest.raises(ValueError, match=f"{total} is more than all caps together, 0"):
                quotas(total, weights)
        return
    given_ = quotas(total, weights)
    assert sum(given_) == total
    for number, weight in zip(given_, exact, strict=True):
        assert abs(number - total * weight / sum(exact)) < 1


@given(st.integers(0, 3000), st.lists(st.tuples(st.integers(0, 100), CAPS), min_size=1, max_size=10))
def test_none_is_above_its_cap_and_the_sum_is_exact_or_refused(total, kinds):
    weights, caps = [weight for weight, _ in kinds], [cap for _, cap in kinds]
    room = sum(10**9 if cap is None else cap for weight, cap in kinds if weight)
    if total > room:
        with pytest.raises(ValueError, match=f"{total} is more than all caps together, {room}"):
            quotas(total, weights, caps)
        return
    given_ = quotas(total, weights, caps)
    assert sum(given_) == total
    assert all(number <= cap for number, cap in zip(given_, caps, strict=True) if cap is not None)
    assert all(number == 0 for number, weight in zip(given_, weights, strict=True) if not weight)


@given(st.integers(0, 3000), st.lists(st.integers(1, 100), min_size=2, max_size=10), st.integers(300, 3000))
def test_the_heavier_never_gets_less(total, weights, cap):
    given_ = quotas(min(total, cap * len(weights)), weights, [cap] * len(weights))
    for one, of_one in zip(weights, given_, strict=True):
        for other, of_other in zip(weights, given_, strict=True):
            assert one <= other or of_one >= of_other


def test_what_a_cap_holds_back_goes_to_the_others_in_proportion():
    assert quotas(100, [50, 30, 20], [10, None, None]) == [10, 54, 36]
    assert quotas(10, [1, 1, 1]) == [4, 3, 3]
    assert quotas(0, []) == []


def test_a_tenth_is_a_tenth():
    assert decimal(0.1) + decimal(0.2) == decimal(0.3)
    assert decimal(1e-7) == Fraction(1, 10**7)
