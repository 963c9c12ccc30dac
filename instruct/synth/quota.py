"""Exact shares: how many of each kind, and which item is which kind."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from instruct.synth.keyed import Draws, Ints


def apportion(total: int, weights: Sequence[float], at_least_one: Collection[int] = ()) -> list[int]:
    """Whole numbers in proportion to weights that add up to the total (largest remainders).

    Args:
        total: what the numbers add up to, 0 or more.
        weights: one non-negative weight per kind, not all zero.
        at_least_one: positions that get 1 or more where the total allows, taken from the largest kinds; earlier
            positions win when it does not.

    Returns:
        One number per weight. When ``total == sum(weights)`` and the weights are whole, the weights themselves.
    """
    scale = total / sum(weights)
    exact = [weight * scale for weight in weights]
    counts = [int(value + 1e-9) for value in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: (counts[i] - exact[i], i))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    for i in at_least_one:
        if counts[i] == 0:
            donor = max(range(len(counts)), key=lambda j: (counts[j], -j))
            if counts[donor] < 2:
                break
            counts[donor] -= 1
            counts[i] = 1
    return counts


def share(part: int, whole: int, n: int, *, at_least: int = 0) -> int:
    """``part`` of ``whole`` scaled to ``n``, rounded half up, and not below ``at_least``."""
    return max(at_least, (2 * part * n + whole) // (2 * whole))


def scatter(draws: Draws, name: str, counts: Sequence[int]) -> Ints:
    """Kind of each of ``sum(counts)`` items: ``counts[i]`` items are of kind i, in random order."""
    kinds = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return kinds[draws.permutation(name, len(kinds))]


def choose(draws: Draws, name: str, candidates: Ints, n: int) -> Ints:
    """``n`` of the candidates (all of them if there are fewer), without repetition, in random order."""
    return candidates[draws.permutation(name, len(candidates))[:n]]


def assign_sized(draws: Draws, name: str, sizes: Ints, quotas: Sequence[int]) -> Ints:
    """Kind of each group so that the group *sizes* per kind meet the quotas.

    Groups of several members take a kind at random in proportion to the quotas; groups of one then fill what is
    missing, so the quotas are met exactly whenever there are enough groups of one.

    Args:
        draws: source of the order.
        name: name of the draw.
        sizes: members per group, 1 or more.
        quotas: wanted members per kind; adds up to ``sizes.sum()``.

    Returns:
        Kind per group.
    """
    kinds = np.zeros(len(sizes), dtype=np.int64)
    left = np.asarray(quotas, dtype=np.int64).copy()
    shares = np.cumsum(left) / left.sum()
    order = draws.permutation(name, len(sizes))
    several = order[sizes[order] > 1]
    kinds[several] = np.searchsorted(shares, draws.uniform(f"{name}/kind", several), side="right")
    left -= np.bincount(kinds[several], weights=sizes[several], minlength=len(left)).astype(np.int64)
    over = np.minimum(left, 0).sum()
    left = np.maximum(left, 0)
    while over < 0:  # only small corpora: a large group overshot its kind
        left[int(np.argmax(left))] -= 1
        over += 1
    kinds[order[sizes[order] == 1]] = np.repeat(np.arange(len(left)), left)
    return kinds
