"""The pieces of a report: one number, one that could not be scored, one part, one comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from instruct.evaluation.metric import Direction, Values
from instruct.evaluation.pairs import Group
from instruct.evaluation.statistics import PairedTest, ReciprocalInterval


@dataclass(frozen=True)
class Result:
    """One number of the summary.

    Attributes:
        name: key of the statistic.
        label: heading in tables.
        definition: identifies the exact definition.
        direction: which way is better.
        value: the number; None where it is undefined, with ``reason``.
        ci95: 95 % interval (low, high), or None.
        ci_method: how the interval was made.
        n_scored: studies that went into it.
        origin: ``computed``, ``composed`` or the imported file.
        columns: the per-study columns it is made of.
        half_width: half width of a mean's interval.
        reciprocal: the raw mean and all intervals of a reciprocal.
        reason: why there is no value.
    """

    name: str
    label: str
    definition: str
    direction: Direction
    value: float | None
    ci95: tuple[float, float] | None
    ci_method: str
    n_scored: int
    origin: str
    columns: tuple[str, ...]
    half_width: float | None = None
    reciprocal: ReciprocalInterval | None = None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data for the summary."""
        plain: dict[str, Any] = {
            "label": self.label,
            "value": self.value,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "ci95_half_width": self.half_width,
            "ci_method": self.ci_method,
            "n_scored": self.n_scored,
            "direction": self.direction,
            "definition": self.definition,
            "origin": self.origin,
        }
        if self.reason:
            plain["reason"] = self.reason
        if self.reciprocal is not None:
            intervals = self.reciprocal
            plain |= {
                "mean_raw": intervals.raw.mean,
                "ci95_raw": intervals.raw.ci95,
                "ci95_leaderboard": intervals.ci95_leaderboard,
                "ci95_delta": intervals.ci95_delta,
                "ci95_mapped": None if intervals.mapped is None else list(intervals.mapped),
            }
        return plain


@dataclass(frozen=True)
class Skipped:
    """A statistic that was asked for and could not be scored."""

    label: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Part:
    """Everything about the pairs of one task, dataset and split.

    Attributes:
        group: task, dataset and split.
        section: part of the report that was scored, "" where the files do not say.
        ids: all given studies.
        scored: per given study, does it have a reference?
        empty: per given study, was the prediction empty?
        results: by name, in table order.
        skipped: by name of the statistic.
        columns: per-study values over all given studies, NaN where there is none.
        counts: numbers worth reporting beside the results.
        notes: sentences worth reporting.
        made_with: weight files with their SHA-256, judges and prompts.
        outputs: by metric, what a judge wrote about each given study.
    """

    group: Group
    section: str
    ids: tuple[str, ...]
    scored: tuple[bool, ...]
    empty: tuple[bool, ...]
    results: Mapping[str, Result]
    skipped: Mapping[str, Skipped]
    columns: Mapping[str, Values]
    counts: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made_with: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    @property
    def n_given(self) -> int:
        """Predictions given."""
        return len(self.ids)

    @property
    def n_scored(self) -> int:
        """Studies that have a reference."""
        return sum(self.scored)

    def as_json(self) -> dict[str, Any]:
        """Plain data for the summary."""
        return {
            "part": str(self.group),
            **self.group._asdict(),
            "section": self.section,
            "n_given": self.n_given,
            "n_scored": self.n_scored,
            "n_without_reference": self.n_given - self.n_scored,
            "n_empty_predictions": sum(self.empty),
            "results": {name: result.as_json() for name, result in self.results.items()},
            "skipped": {
                name: {"label": skip.label, "reason": skip.reason, "remedy": skip.remedy}
                for name, skip in self.skipped.items()
            },
            "counts": dict(self.counts),
            "made_with": dict(self.made_with),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Comparison:
    """One statistic of this report (system a) tested against another system (b) on the same studies."""

    part: str
    name: str
    label: str
    direction: Direction
    column: str
    test: PairedTest

    def as_json(self) -> dict[str, Any]:
        """Plain data for the summary."""
        return {
            "part": self.part,
            "name": self.name,
            "label": self.label,
            "direction": self.direction,
            "column": self.column,
            "n": self.test.n,
            "mean": self.test.mean_a,
            "mean_other": self.test.mean_b,
            "difference": self.test.difference,
            "p_value": self.test.p_value,
            "trials": self.test.trials,
            "method": "paired approximate randomisation, two-sided",
        }
