"""From per-study columns to one number with its interval."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from instruct.evaluation.metric import Settings, Statistic, Values, finite_rows
from instruct.evaluation.results import Result
from instruct.evaluation.statistics import bootstrap_interval, mean_interval, reciprocal_interval

_MEAN = "mean ± 1.96·SEM (ddof 1)"


def estimate(
    statistic: Statistic,
    columns: tuple[Values, ...],
    *,
    key: str,
    origin: str,
    settings: Settings,
    seed: int,
    resamples: int,
) -> Result:
    """Value and interval of a statistic: of a mean, of the reciprocal of a mean, or bootstrapped.

    Args:
        statistic: what to make.
        columns: its per-study columns, in its order; studies with a NaN in any are left out and not counted.
        key: key of the bootstrap's random numbers.
        origin: where the columns came from.
        settings: settings that are part of a definition.
        seed: seed of the bootstrap.
        resamples: bootstrap resamples.
    """
    keep = finite_rows(columns)
    columns = tuple(column[keep] for column in columns)
    n = int(keep.sum())
    definition = statistic.definition
    if "fineradscore" in statistic.name:
        definition += f" [no correction = {settings.no_error_severity:g}]"
    result = Result(
        statistic.name,
        statistic.label,
        definition,
        statistic.direction,
        None,
        None,
        "",
        n,
        origin,
        statistic.columns,
    )
    if n == 0:
        return replace(result, reason="no study has a score")
    if statistic.combine is not None:
        value = statistic.combine(*columns)
        if not np.isfinite(value):
            return replace(result, reason="undefined for these answers")
        resampled = statistic.resampled
        drawn = statistic.combine if resampled is None else lambda *rows: resampled(*rows, *columns)
        interval = bootstrap_interval(columns, drawn, name=key, seed=seed, resamples=resamples)
        return replace(
            result, value=value, ci95=interval, ci_method=f"percentile bootstrap of studies ({resamples}, seed {seed})"
        )
    if statistic.reciprocal:
        intervals = reciprocal_interval(columns[0])
        return replace(
            result,
            value=intervals.value,
            ci95=intervals.mapped,
            ci_method="1/x of mean ± 1.96·SEM (ddof 1)",
            half_width=intervals.ci95_delta,
            reciprocal=intervals,
            reason="" if intervals.value is not None else "the mean is not above 0",
        )
    mean = mean_interval(columns[0])
    interval = None if mean.ci95 is None else (mean.mean - mean.ci95, mean.mean + mean.ci95)
    return replace(result, value=mean.mean, ci95=interval, ci_method=_MEAN, half_width=mean.ci95)
