"""What each part is scored with, and whether the given files fit: all that is found out before anything is scored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from instruct.errors import DataError, UsageError
from instruct.evaluation.catalogue import select
from instruct.evaluation.metric import Metric
from instruct.evaluation.pairs import Group, Pairs
from instruct.evaluation.running import Work
from instruct.evaluation.scores import ScoreFile
from instruct.evaluation.tasks.kinds import KINDS, REPORT, kind_of


@dataclass(frozen=True)
class Plan:
    """One part before it is scored.

    Attributes:
        group: task, dataset and split.
        given: its pairs.
        pairs: those that have a reference.
        chosen: the metrics, components of composites first.
        named: metrics asked for by their own name.
        work: holds the imported columns.
    """

    group: Group
    given: Pairs
    pairs: Pairs
    chosen: Sequence[Metric]
    named: set[str]
    work: Work = field(default_factory=Work)

    def uses(self, file: ScoreFile) -> bool:
        """Does one of the metrics have a column of the file?"""
        return any(column.name in file.columns for metric in self.chosen for column in metric.columns)


def plan_parts(
    pairs: Pairs, names: Sequence[str], leaderboard: str, files: Sequence[ScoreFile], other: ScoreFile | None
) -> list[Plan]:
    """A plan for every task, dataset and split, the imported columns in it.

    Args:
        pairs: all pairs.
        names: metrics of every part; where there are none, each part has those of its task.
        leaderboard: "" or the board whose metrics report tasks have by default.
        files: imported scores.
        other: scores of the system to compare with.

    Raises:
        DataError: a part has no reference, a file's rows are not those of the studies, a column is given twice, or
            there is nothing to compare.
        UsageError: a task has no metrics of its own, or there is no report for the leaderboard.
    """
    plans = [_plan(group, given, names, leaderboard) for group, given in pairs.groups()]
    if leaderboard and not any(kind_of(plan.group.task) == REPORT for plan in plans):
        tasks = ", ".join(plan.group.task for plan in plans)
        raise UsageError(f"leaderboard {leaderboard!r} has scores of reports; expected a report task, found {tasks}")
    for file in files:
        users = [plan for plan in plans if plan.uses(file)]
        for plan in users:
            _import(plan, file)
        file.check_ids(_ids(plans), _ids(users))
    if other is not None:
        compared = [plan for plan in plans if other.columns.keys() & _means(plan.chosen)]
        for plan in compared:
            other.for_ids(plan.group, plan.given.ids)
        other.check_ids(_ids(plans), _ids(compared))
        if not compared:
            raise other.nothing_to_compare()
    return plans


def _plan(group: Group, given: Pairs, names: Sequence[str], leaderboard: str) -> Plan:
    chosen, named = select(names or [_default(group, leaderboard)])
    pairs = given.scored()
    if not len(pairs):
        raise DataError(f"{group}: none of the {len(given)} examples has a reference")
    return Plan(group, given, pairs, chosen, named)


def _default(group: Group, leaderboard: str) -> str:
    kind = kind_of(group.task)
    if kind is None:
        raise UsageError(
            f"task {group.task!r} has no metrics of its own; choose some with metrics=…, or use one of "
            f"{', '.join(KINDS)}"
        )
    return leaderboard if leaderboard and kind == REPORT else kind


def _ids(plans: Iterable[Plan]) -> dict[Group, Sequence[str]]:
    return {plan.group: plan.given.ids for plan in plans}


def _means(chosen: Iterable[Metric]) -> set[str]:
    """Columns of which a mean is a result, which is what is compared."""
    return {item.columns[0] for metric in chosen for item in metric.statistics if item.is_mean}


def _import(plan: Plan, file: ScoreFile) -> None:
    work = plan.work
    for name, values in file.for_ids(plan.group, plan.pairs.ids).items():
        if name in work.columns:
            raise DataError(f"{file.name}: column {name!r} was already given by {work.origins[name]}")
        work.columns[name] = values
        work.origins[name] = f"imported from {file.name} (sha256 {file.digest[:12]})"
