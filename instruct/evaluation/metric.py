"""What a metric is: per-study columns, the statistics made of them, and how to get the columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from instruct.evaluation.pairs import Pairs

Values = NDArray[np.float64]
Direction = Literal["higher", "lower"]
T = TypeVar("T")


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
        resampled: ``combine`` of a bootstrap resample, where that is not the same: of its columns and of all data's.
    """

    name: str
    label: str
    definition: str
    direction: Direction
    columns: tuple[str, ...]
    combine: Callable[..., float] | None = None
    reciprocal: bool = False
    resampled: Callable[..., float] | None = None

    @property
    def is_mean(self) -> bool:
        """Is it the arithmetic mean of its column?"""
        return self.combine is None and not self.reciprocal


@dataclass(frozen=True)
class Scores:
    """Per-study columns of one metric, one row per scored study, NaN where a study has no score.

    Attributes:
        columns: column name to an array of shape (n,) or (n, width).
        counts: things to report beside the numbers, such as ``unparsed_answers``.
        made_with: weight files with their SHA-256, judges and prompts that made them.
        outputs: what a judge wrote per study, to keep; empty where there was none.
    """

    columns: Mapping[str, Values]
    counts: Mapping[str, int] = field(default_factory=dict)
    made_with: Mapping[str, str] = field(default_factory=dict)
    outputs: tuple[Any, ...] = ()


class Session:
    """Things made once in an evaluation and shared by its metrics: loaded models, what they said of each text."""

    def __init__(self) -> None:
        self._held: dict[Hashable, Any] = {}

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` gave when this key was first asked for."""
        if key not in self._held:
            self._held[key] = make()
        return cast(T, self._held[key])


@dataclass(frozen=True)
class Judge:
    """A language model that judges pairs of reports.

    Attributes:
        where: base URL of an OpenAI-compatible endpoint (``http://localhost:8000/v1``) or a folder with a model.
        model: the endpoint's name of the model.
        prompt: file of the prompt, with ``{reference}`` and ``{candidate}``.
    """

    where: str = ""
    model: str = ""
    prompt: Path | None = None


@dataclass(frozen=True)
class Settings:
    """What a metric may need besides the pairs.

    Attributes:
        judgements: metric name to a file of judge outputs.
        no_error_severity: FineRadScore severity of a report that the judge left uncorrected.
        weights: name of weights to their folder.
        download: may weights be fetched from the hub?
        device: torch device; "" for CUDA where there is one, else the CPU.
        judges: metric name to its judge.
        allow_third_party: may texts of any source be sent to an endpoint elsewhere?
        session: what the metrics of one evaluation share.
    """

    judgements: Mapping[str, Path] = field(default_factory=dict)
    no_error_severity: float = 1.0
    weights: Mapping[str, Path] = field(default_factory=dict)
    download: bool = False
    device: str = ""
    judges: Mapping[str, Judge] = field(default_factory=dict)
    allow_third_party: bool = False
    session: Session = field(default_factory=Session)


@dataclass(frozen=True)
class Metric:
    """One metric; exactly one of ``score`` and ``compose`` makes its columns.

    Attributes:
        name: what the user asks for.
        columns: the per-study columns it makes.
        statistics: the summary numbers made of them.
        score: makes the columns from pairs; raises :class:`Unavailable` where it cannot.
        compose: makes the columns from other metrics' columns.
        needs: names of the columns that ``compose`` reads.
    """

    name: str
    columns: tuple[Column, ...]
    statistics: tuple[Statistic, ...]
    score: Callable[[Pairs, Settings], Scores] | None = None
    compose: Callable[[Mapping[str, Values]], Scores] | None = None
    needs: tuple[str, ...] = ()


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
) -> Metric:
    """A metric with one column of its own name whose only statistic is the mean."""
    return Metric(
        name=name,
        columns=(Column(name, low, high, aliases=aliases),),
        statistics=(Statistic(name, label, definition, direction, (name,)),),
        score=score,
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
