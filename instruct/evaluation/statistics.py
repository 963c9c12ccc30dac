"""Uncertainty: intervals of means, of reciprocals of means and of other statistics; a paired test."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from instruct.digest import digest_bytes
from instruct.errors import DataError
from instruct.evaluation.metric import Values

Z95 = 1.96
_CHUNK = 1 << 22


@dataclass(frozen=True)
class MeanInterval:
    """Mean of n values with its normal-theory 95 % interval.

    Attributes:
        n: number of values.
        mean: arithmetic mean.
        ci95: half width 1.96·s/√n with s the sample standard deviation (ddof 1); None for one value.
    """

    n: int
    mean: float
    ci95: float | None


@dataclass(frozen=True)
class ReciprocalInterval:
    """1/mean with the three intervals that are in use for it.

    Attributes:
        raw: the mean itself and its interval.
        value: 1/mean; None unless mean > 0 (the reciprocal has a pole at 0).
        ci95_leaderboard: half width of the *raw* mean, the way published leaderboard tables print it beside
            the reciprocal. It is no interval of the reciprocal.
        ci95_delta: half width by the delta method, ci95_raw / mean².
        mapped: (1/(mean+c), 1/(mean−c)), the raw interval carried through; None where mean−c ≤ 0.
    """

    raw: MeanInterval
    value: float | None
    ci95_leaderboard: float | None
    ci95_delta: float | None
    mapped: tuple[float, float] | None


@dataclass(frozen=True)
class PairedTest:
    """Approximate randomisation test of the difference of two means over the same studies.

    Attributes:
        n: studies that both systems have a value for.
        mean_a: mean of the first system.
        mean_b: mean of the second system.
        difference: mean_a − mean_b.
        p_value: two-sided, (extreme trials + 1) / (trials + 1).
        trials: number of random swaps.
    """

    n: int
    mean_a: float
    mean_b: float
    difference: float
    p_value: float
    trials: int


def mean_interval(values: Values) -> MeanInterval:
    """Mean ± 1.96·SEM of finite values (at least one)."""
    n = len(values)
    if n == 0:
        raise DataError("mean of no values: no study has a score")
    mean = math.fsum(values) / n
    if n == 1:
        return MeanInterval(1, mean, None)
    variance = math.fsum((values - mean) ** 2) / (n - 1)
    return MeanInterval(n, mean, Z95 * math.sqrt(variance / n))


def reciprocal_interval(values: Values) -> ReciprocalInterval:
    """1/mean of finite values; never the mean of reciprocals."""
    raw = mean_interval(values)
    if raw.mean <= 0:
        return ReciprocalInterval(raw, None, raw.ci95, None, None)
    value = 1 / raw.mean
    if raw.ci95 is None:
        return ReciprocalInterval(raw, value, None, None, None)
    low, high = raw.mean - raw.ci95, raw.mean + raw.ci95
    mapped = (1 / high, 1 / low) if low > 0 else None
    return ReciprocalInterval(raw, value, raw.ci95, raw.ci95 / raw.mean**2, mapped)


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers that depend on the seed and the name alone, not on what else is computed."""
    return np.random.Generator(np.random.PCG64([seed, int(digest_bytes(name)[:16], 16)]))


def bootstrap_interval(
    columns: tuple[Values, ...],
    combine: Callable[..., float],
    *,
    name: str,
    seed: int = 0,
    resamples: int = 1000,
) -> tuple[float, float] | None:
    """Percentile 95 % interval of a statistic under resampling of studies.

    Args:
        columns: arrays with one row per study; all are resampled together.
        combine: the statistic of such arrays.
        name: key of the random numbers, with ``seed``.
        seed: seed of the run.
        resamples: number of resamples.

    Returns:
        The 2.5 % and 97.5 % quantiles, or None for fewer than two studies or where no resample has a value.
        Resamples in which the statistic is undefined (NaN) do not count.
    """
    n = len(columns[0])
    if n < 2:
        return None
    random = generator(seed, name)
    drawn = np.empty(resamples)
    for trial in range(resamples):
        rows = random.integers(0, n, n)
        drawn[trial] = combine(*(column[rows] for column in columns))
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def paired_test(a: Values, b: Values, *, name: str = "", seed: int = 0, trials: int = 10_000) -> PairedTest:
    """Is the difference of two systems' means larger than swapping their scores at random would make it?

    Args:
        a: per-study scores of one system.
        b: per-study scores of the other, same studies in the same order; rows with a NaN in either are left out.
        name: key of the random numbers, with ``seed``.
        seed: seed of the run.
        trials: random swaps; the least p-value is 1/(trials+1).

    Raises:
        DataError: the lengths differ or no study has both scores.
    """
    if len(a) != len(b):
        raise DataError(f"paired test needs the same studies: {len(a)} scores against {len(b)}")
    keep = np.isfinite(a) & np.isfinite(b)
    a, b = a[keep], b[keep]
    n = len(a)
    if n == 0:
        raise DataError("paired test: no study has a score from both systems")
    gap = a - b
    observed = abs(gap.sum())
    tolerance = 1e-12 * max(1.0, float(np.abs(gap).sum()))
    random = generator(seed, f"paired:{name}")
    extreme = done = 0
    while done < trials:
        rows = min(trials - done, max(1, _CHUNK // n))
        signs = random.integers(0, 2, (rows, n), dtype=np.int8) * 2.0 - 1.0
        extreme += int(np.count_nonzero(np.abs(signs @ gap) >= observed - tolerance))
        done += rows
    mean_a, mean_b = math.fsum(a) / n, math.fsum(b) / n
    return PairedTest(n, mean_a, mean_b, mean_a - mean_b, (extreme + 1) / (trials + 1), trials)
