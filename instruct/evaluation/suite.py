"""The suite: from predictions to a report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from instruct.digest import digest_file
from instruct.errors import DataError, UsageError
from instruct.evaluation.catalogue import all_columns, select
from instruct.evaluation.estimate import estimate
from instruct.evaluation.metric import Metric, Scores, Settings, Unavailable, Values
from instruct.evaluation.pairs import Group, Pairs
from instruct.evaluation.reading import read_predictions
from instruct.evaluation.report import Report
from instruct.evaluation.results import Part, Skipped
from instruct.evaluation.scores import ScoreFile, read_scores
from instruct.evaluation.tasks.kinds import KINDS, kind_of

LEADERBOARDS = ("rexrank",)


@dataclass
class _Work:
    """Columns of one part while its metrics run."""

    columns: dict[str, Values] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, Unavailable] = field(default_factory=dict)


def evaluate(
    predictions: str | Path | Pairs,
    references: str | Path | None = None,
    *,
    metrics: str | Sequence[str] | None = None,
    scores: str | Path | Sequence[str | Path] = (),
    judgements: Mapping[str, str | Path] | None = None,
    leaderboard: str | None = None,
    section: str | None = None,
    against: str | Path | None = None,
    no_error_severity: float = 1.0,
    seed: int = 0,
    resamples: int = 1000,
) -> Report:
    """Score predictions against references.

    Args:
        predictions: a file (see :func:`~instruct.evaluation.reading.read_predictions`) or pairs.
        references: file of the references where the prediction file has none.
        metrics: names of metrics, summary numbers or groups; by default those of each part's task, or all report
            metrics for files that name no task.
        scores: files of per-study scores made elsewhere; they take the place of computing.
        judgements: metric (``green``, ``fineradscore``) to a file of judge outputs.
        leaderboard: ``rexrank`` adds the table with that board's columns, and is its eight metrics by default.
        section: section of ReXrank records to score.
        against: per-study scores of another system, for paired tests.
        no_error_severity: FineRadScore of a report without corrections, 0 to 4.
        seed: seed of the bootstrap and the paired test.
        resamples: bootstrap resamples.

    Returns:
        Results with intervals, per-study scores, and what could not be scored with the reason.

    Raises:
        DataError: a file is malformed or the studies do not match.
        UsageError: a name is unknown, or a composite asked for by name lacks a component.
    """
    if leaderboard is not None and leaderboard not in LEADERBOARDS:
        raise UsageError(f"unknown leaderboard {leaderboard!r}; expected {', '.join(LEADERBOARDS)}")
    if resamples < 1:
        raise UsageError(f"resamples is {resamples}; expected at least 1")
    names = [metrics] if isinstance(metrics, str) else list(metrics or (["rexrank"] if leaderboard else []))
    if names:
        select(names)
    settings = _settings(judgements or {}, no_error_severity)
    score_paths = [Path(path) for path in ([scores] if isinstance(scores, (str, Path)) else scores)]
    files = [read_scores(path, all_columns()) for path in score_paths]
    pairs = (
        predictions if isinstance(predictions, Pairs) else read_predictions(predictions, references, section=section)
    )
    parts = tuple(_part(group, given, names, files, settings, seed, resamples) for group, given in pairs.groups())
    roles = {
        "predictions": [] if isinstance(predictions, Pairs) else [Path(predictions)],
        "references": [Path(references)] if references is not None else [],
        "scores": score_paths,
        **{f"judgements {name}": [path] for name, path in sorted(settings.judgements.items())},
        "against": [Path(against)] if against is not None else [],
    }
    inputs = tuple(
        {"role": role, "file": path.name, "sha256": digest_file(path)}
        for role, paths in roles.items()
        for path in paths
    )
    report = Report(parts, inputs, _versions(), seed, resamples, leaderboard or "")
    return report if against is None else replace(report, comparisons=report.compare(against))


def _settings(judgements: Mapping[str, str | Path], no_error_severity: float) -> Settings:
    allowed = ("green", "fineradscore")
    for name in judgements:
        if name not in allowed:
            raise UsageError(f"no judge outputs are read for {name!r}; expected {' or '.join(allowed)}")
    if not 0 <= no_error_severity <= 4:
        raise UsageError(f"no_error_severity is {no_error_severity:g}; expected 0 to 4")
    return Settings({name: Path(path) for name, path in judgements.items()}, no_error_severity)


def _names_for(group: Group) -> list[str]:
    kind = kind_of(group.task)
    if kind is None:
        raise UsageError(
            f"task {group.task!r} has no metrics of its own; choose some with metrics=…, or use one of "
            f"{', '.join(KINDS)}"
        )
    return [kind]


def _part(
    group: Group,
    given: Pairs,
    names: list[str],
    files: Sequence[ScoreFile],
    settings: Settings,
    seed: int,
    resamples: int,
) -> Part:
    chosen, named = select(names or _names_for(group))
    has = given.has_reference()
    pairs = given.scored()
    if not len(pairs):
        raise DataError(f"{group}: none of the {len(given)} examples has a reference")
    work = _Work()
    for file in files:
        for name, values in file.for_ids(group, pairs.ids, given.ids).items():
            if name in work.columns:
                raise DataError(f"{file.name}: column {name!r} was already given by {work.origins[name]}")
            work.columns[name] = values
            work.origins[name] = f"imported from {file.name} (sha256 {file.digest[:12]})"
    _run(chosen, named, pairs, settings, work)
    results, skipped = {}, {}
    for metric in chosen:
        for statistic in metric.statistics:
            if metric.name in work.skipped:
                why = work.skipped[metric.name]
                skipped[statistic.name] = Skipped(statistic.label, why.reason, why.remedy)
            else:
                results[statistic.name] = estimate(
                    statistic,
                    tuple(work.columns[column] for column in statistic.columns),
                    key=f"{group}:{statistic.name}",
                    origin=work.origins[statistic.columns[0]],
                    settings=settings,
                    seed=seed,
                    resamples=resamples,
                )
    asked = {column.name for metric in chosen for column in metric.columns if column.width}
    notes = [*given.notes]
    notes += [f"{file.name}: ignored fields {', '.join(file.ignored)}" for file in files if file.ignored]
    return Part(
        group,
        given.section,
        given.ids,
        tuple(has),
        tuple(not text.strip() for text in given.predictions),
        results,
        skipped,
        {name: _spread(values, has) for name, values in work.columns.items() if name in asked},
        work.counts,
        tuple(notes),
    )


def _run(chosen: Sequence[Metric], named: set[str], pairs: Pairs, settings: Settings, work: _Work) -> None:
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
                origin = "computed"
            else:
                raise Unavailable(metric.reason, metric.remedy)
        except Unavailable as why:
            if metric.compose is not None and metric.name in named:
                raise UsageError(f"{metric.name} is refused, it {why.reason}: {why.remedy}") from None
            work.skipped[metric.name] = why
            continue
        for name, values in made.columns.items():
            if len(values) != len(pairs):
                raise AssertionError(f"{metric.name} gave {len(values)} values of {name} for {len(pairs)} studies")
            work.columns[name] = values
            work.origins[name] = origin
        work.counts.update(made.counts)


def _compose(metric: Metric, work: _Work) -> Scores:
    missing = [name for name in metric.needs if name not in work.columns]
    if missing or metric.compose is None:
        reasons = [
            f"{name} ({work.skipped[name].reason if name in work.skipped else 'no column'})" for name in missing
        ]
        raise Unavailable(
            f"needs {', '.join(missing)}", f"missing are {', '.join(reasons)}; give their columns with --scores"
        )
    return metric.compose(work.columns)


def _spread(values: Values, has: Sequence[bool]) -> Values:
    """Values of the scored studies at their places among all given ones, NaN elsewhere."""
    spread = np.full((len(has), *values.shape[1:]), np.nan)
    spread[np.flatnonzero(has)] = values
    return spread


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("cxr-instruct", "numpy", "pyarrow", "rapidfuzz"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed as a package"
    return versions
