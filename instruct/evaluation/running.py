"""Running the chosen metrics on the pairs of one part: imported columns win, the rest is computed or composed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from instruct.errors import UsageError
from instruct.evaluation.metric import Metric, Scores, Settings, Unavailable, Values
from instruct.evaluation.pairs import Pairs


@dataclass
class Work:
    """What one part has while its metrics run.

    Attributes:
        columns: by name, over the scored studies.
        origins: of each column: imported, computed or composed.
        counted: numbers to report, by name and metric.
        made_with: weight files with their SHA-256, judges and prompts.
        outputs: by metric, what a judge wrote.
        skipped: by metric, why it has no columns.
    """

    columns: dict[str, Values] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    counted: dict[str, dict[str, int]] = field(default_factory=dict)
    made_with: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    skipped: dict[str, Unavailable] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """The numbers to report; those on which metrics differ, with the metric in the name."""
        found: dict[str, int] = {}
        for name, numbers in self.counted.items():
            agreed = len(set(numbers.values())) == 1
            found |= {name if agreed else f"{name}_of_{metric}": number for metric, number in numbers.items()}
        return found


def run_metrics(chosen: Sequence[Metric], named: set[str], pairs: Pairs, settings: Settings, work: Work) -> None:
    """Fill the columns: imported ones stay, others are computed or composed, the rest is skipped with a reason."""
    for metric in chosen:
        if all(column.name in work.columns for column in metric.columns):
            continue
        try:
            if metric.compose is not None:
                made = _compose(metric, work)
                origin = f"composed from {', '.join(metric.needs)}"
            elif metric.score is not None:
                made = metric.score(pairs, settings)
                origin = "computed" + _with(made.made_with)
            else:
                raise AssertionError(f"{metric.name} has no way to its columns")
        except Unavailable as why:
            if metric.compose is not None and metric.name in named:
                raise UsageError(f"{metric.name} is refused, it {why.reason}: {why.remedy}") from None
            work.skipped[metric.name] = why
            continue
        for name, values in made.columns.items():
            if len(values) != len(pairs):
                raise AssertionError(f"{metric.name} gave {len(values)} values of {name} for {len(pairs)} studies")
            if name not in work.columns:
                work.columns[name] = values
                work.origins[name] = origin
        for name, number in made.counts.items():
            work.counted.setdefault(name, {})[metric.name] = number
        work.made_with.update(made.made_with)
        if made.outputs:
            work.outputs[metric.name] = made.outputs


def _compose(metric: Metric, work: Work) -> Scores:
    missing = [name for name in metric.needs if name not in work.columns]
    if missing or metric.compose is None:
        reasons = [f"{name} ({work.skipped[name].reason if name in work.skipped else 'no column'})" for name in missing]
        raise Unavailable(
            f"needs {', '.join(missing)}", f"missing are {', '.join(reasons)}; give their columns with --scores"
        )
    return metric.compose(work.columns)


def spread(values: Values, has: Sequence[bool]) -> Values:
    """Values of the scored studies at their places among all given ones, NaN elsewhere."""
    spread = np.full((len(has), *values.shape[1:]), np.nan)
    spread[np.flatnonzero(has)] = values
    return spread


def placed(outputs: Sequence[Any], has: Sequence[bool]) -> tuple[Any, ...]:
    """Judge outputs of the scored studies at their places among all given ones, None elsewhere."""
    rest = iter(outputs)
    return tuple(next(rest) if there else None for there in has)


def _with(made_with: Mapping[str, str]) -> str:
    """Names of the weights or judges that made a score."""
    names = dict.fromkeys(name.partition("/")[0] for name in made_with)
    return f" with {', '.join(names)}" if names else ""
