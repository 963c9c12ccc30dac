"""What a metric is: per-study columns, the statistics made of them, and how to get the columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from instruct.evaluation.pairs import Pairs

Values = NDArray[np.float64]
Direction = Literal["higher", "lower"]


class Unavailable(Exception):
    """A metric cannot be computed here; the report prints ``n/a (reason)``.

    Args:
        reason: a few words for the table, such as ``weights missing``.
        remedy: one sentence that says what to give, get or run.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        self.reason = reason
        self.remedy = remedy
        super().__init__(f"{reason}: {remedy}")


@dataclass(frozen=True)
class Column:
    """One per-study value of a metric.

    Attributes:
        name: column name in the per-study scores and in imported score files.
        low: least possible value (checked on import).
        high: greatest possible value (checked on import).
        width: 1 for a number per study, k for a list of k numbers per study.
        aliases: names that other tools give the same column.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    width: int = 1
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statistic:
    """One number of the summary, made of one or more per-study columns.

    Attributes:
        name: key in the summary.
        label: heading in tables.
        definition: identifies the exact definition; changes whenever the numbers would.
        direction: which way is better.
        columns: names of the columns it is made of.
        combine: aggregate of the columns' rows; None for the arithmetic mean of the only column.
        reciprocal: the number is 1/mean of the only column.
    """

    name: str
    label: str
    definition: str
    direction: Direction
    columns: tuple[str, ...]
    combine: Callable[..., float] | None = None
    reciprocal: bool = False


@dataclass(frozen=True)
class Scores:
    """Per-study columns of one metric, one row per scored study, NaN where a study has no score.

    Attributes:
        columns: column name to an array of shape (n,) or (n, width).
        counts: things to report beside the numbers, such as ``unparsed_answers``.
    """

    columns: Mapping[str, Values]
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """What a metric may need besides the pairs.

    Attributes:
        judgements: metric name to a file of judge outputs.
        no_error_severity: FineRadScore severity of a report that the judge left uncorrected.
    """

    judgements: Mapping[str, Path] = field(default_factory=dict)
    no_error_severity: float = 1.0


@dataclass(frozen=True)
class Metric:
    """One metric; exactly one of ``score`` and ``compose`` makes its columns, or neither (import only).

    Attributes:
        name: what the user asks for.
        columns: the per-study columns it makes.
        statistics: the summary numbers made of them.
        score: makes the columns from pairs; raises :class:`Unavailable` where it cannot.
        compose: makes the columns from other metrics' columns.
        needs: names of the columns that ``compose`` reads.
        reason: a few words for ``n/a (...)`` of a metric that has neither.
        remedy: what to get or import for such a metric.
    """

    name: str
    columns: tuple[Column, ...]
    statistics: tuple[Statistic, ...]
    score: Callable[[Pairs, Settings], Scores] | None = None
    compose: Callable[[Mapping[str, Values]], Scores] | None = None
    needs: tuple[str, ...] = ()
    reason: str = ""
    remedy: str = ""


def mean_metric(
    name: str,
    label: str,
    definition: str,
    score: Callable[[Pairs, Settings], Scores] | None = None,
    *,
    direction: Direction = "higher",
    low: float = 0.0,
    high: float = 1.0,
    aliases: tuple[str, ...] = (),
    **rest: Any,
) -> Metric:
    """A metric with one column of its own name whose only statistic is the mean."""
    return Metric(
        name=name,
        columns=(Column(name, low, high, aliases=aliases),),
        statistics=(Statistic(name, label, definition, direction, (name,)),),
        score=score,
        **rest,
    )


def finite_rows(columns: tuple[Values, ...]) -> NDArray[np.bool_]:
    """Rows in which every column has a value (no NaN)."""
    keep = np.ones(len(columns[0]), dtype=np.bool_)
    for column in columns:
        keep &= np.isfinite(column.reshape(len(column), -1)).all(axis=1)
    return keep


def is_missing(value: object) -> bool:
    """True for None and for the floating-point NaN that JSON files of this field use for 'absent'."""
    return value is None or (isinstance(value, float) and math.isnan(value))
