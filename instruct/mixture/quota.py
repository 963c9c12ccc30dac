"""Whole numbers in proportion to weights: the largest remainder method, with upper bounds."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def quotas(total: int, weights: Sequence[float | Fraction], caps: Sequence[int | None] | None = None) -> list[int]:
    """Split a total in proportion to weights, none above its cap.

    What caps hold back goes to the others in proportion. The arithmetic is exact, so no machine rounds differently.
    The method of largest remainders is that of Hamilton; each number is the exact share rounded down or up.

    Args:
        total: what the numbers add up to, 0 or more.
        weights: non-negative; those of weight 0 get 0.
        caps: upper bounds, None for none.

    Returns:
        A number per weight. Of two with the same cap, the heavier never gets less; of equal ones, the earlier.

    Raises:
        ValueError: the caps of those with a weight add up to less than the total.
    """
    exact = [Fraction(weight) for weight in weights]
    bounds: Sequence[int | None] = caps if caps is not None else [None] * len(exact)
    given = [0] * len(exact)
    open_ = [number for number, weight in enumerate(exact) if weight > 0]
    left = total
    while open_:
        scale = left / sum(exact[number] for number in open_)
        full = {number: cap for number in open_ if (cap := bounds[number]) is not None and exact[number] * scale >= cap}
        if not full:
            break
        for number, cap in full.items():
            given[number] = cap
            left -= cap
        open_ = [number for number in open_ if number not in full]
    if not open_:
        if left:
            raise ValueError(f"{total} is more than all caps together, {total - left}")
        return given
    shares = {number: exact[number] * scale for number in open_}
    for number, share in shares.items():
        given[number] = int(share)
    by_remainder = sorted(open_, key=lambda number: (given[number] - shares[number], number))
    for number in by_remainder[: total - sum(given)]:
        given[number] += 1
    return given


def round_half_up(value: Fraction) -> int:
    """The nearest whole number; halves go up."""
    return int(value + Fraction(1, 2))


def decimal(value: float) -> Fraction:
    """A number as a person wrote it: 0.1 is a tenth."""
    return Fraction(repr(value))
