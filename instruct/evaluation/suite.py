"""The suite: from predictions to a report."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from instruct.digest import digest_file
from instruct.errors import DataError, UsageError
from instruct.evaluation.catalogue import all_columns, select
from instruct.evaluation.estimate import estimate
from instruct.evaluation.metric import Judge, Settings
from instruct.evaluation.models.known import KNOWN
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.planning import Plan, plan_parts
from instruct.evaluation.reading import read_predictions
from instruct.evaluation.report import Report
from instruct.evaluation.results import Part, Skipped
from instruct.evaluation.running import placed, run_metrics, spread
from instruct.evaluation.scores import ScoreFile, read_scores

LEADERBOARDS = ("rexrank",)
_JUDGED = ("green", "fineradscore")


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
    weights: Mapping[str, str | Path] | None = None,
    download: bool = False,
    device: str = "",
    judges: Mapping[str, Judge] | None = None,
    allow_third_party: bool = False,
    seed: int = 0,
    resamples: int = 1000,
) -> Report:
    """Score predictions against references.

    Args:
        predictions: a file (see :func:`~instruct.evaluation.reading.read_predictions`) or pairs.
        references: where the prediction file has none, the file of the references, or the dataset folder that the
            examples were taken from; a folder also says how answers are read back.
        metrics: names of metrics, summary numbers or groups; by default those of each part's task, or all report
            metrics for files that name no task.
        scores: files of per-study scores made elsewhere; they take the place of computing.
        judgements: metric (``green``, ``fineradscore``) to a file of judge outputs.
        leaderboard: ``rexrank`` adds the table with that board's columns to the report tasks, and its eight metrics are
            their default.
        section: section of ReXrank records to score.
        against: per-study scores of another system, for paired tests.
        no_error_severity: FineRadScore of a report without corrections, 0 to 4.
        weights: name of weights (``chexbert`` …) to their folder; others are looked for in ``$CXR_INSTRUCT_WEIGHTS``
            and the local hub cache.
        download: fetch missing weights from the hub; without it the network is not touched.
        device: torch device of the models; by default CUDA where there is one, else the CPU.
        judges: metric (``green``, ``fineradscore``) to the model that judges.
        allow_third_party: send reports to a judge elsewhere whatever the terms of their source.
        seed: seed of the bootstrap and the paired test.
        resamples: bootstrap resamples.

    Returns:
        Results with intervals, per-study scores, and what could not be scored with the reason.

    Raises:
        DataError: a file is malformed or the studies do not match.
        UsageError: a name is unknown, a composite asked for by name lacks a component, or a judge cannot be asked.
        TermsError: the terms of a source forbid sending its reports to the judge.
    """
    if leaderboard is not None and leaderboard not in LEADERBOARDS:
        raise UsageError(f"unknown leaderboard {leaderboard!r}; expected {', '.join(LEADERBOARDS)}")
    if resamples < 1:
        raise UsageError(f"resamples is {resamples}; expected at least 1")
    names = [metrics] if isinstance(metrics, str) else list(metrics or [])
    if names:
        select(names)
    settings = replace(
        _settings(judgements or {}, judges or {}, weights or {}, no_error_severity),
        download=download,
        device=device,
        allow_third_party=allow_third_party,
    )
    score_paths = [Path(path) for path in ([scores] if isinstance(scores, (str, Path)) else scores)]
    files = [read_scores(path, all_columns()) for path in score_paths]
    pairs = (
        predictions if isinstance(predictions, Pairs) else read_predictions(predictions, references, section=section)
    )
    other = None if against is None else read_scores(against, all_columns())
    plans = plan_parts(pairs, names, leaderboard or "", files, other)
    roles = {
        "predictions": [] if isinstance(predictions, Pairs) else [Path(predictions)],
        "references": [_named_file(Path(references))] if references is not None else [],
        "scores": score_paths,
        **{f"judgements {name}": [path] for name, path in sorted(settings.judgements.items())},
        "against": [Path(against)] if against is not None else [],
    }
    inputs = tuple(_input(role, path) for role, paths in roles.items() for path in paths)
    # A judge is paid for what an error elsewhere would lose: the parts that ask one come last.
    done = {
        plan.group: _part(plan, files, settings, seed, resamples)
        for plan in sorted(plans, key=lambda plan: any(metric.name in _JUDGED for metric in plan.chosen))
    }
    parts = tuple(done[plan.group] for plan in plans)
    with_models = any(what.startswith("sha256") for part in parts for what in part.made_with.values())
    report = Report(parts, inputs, _versions(with_models=with_models), seed, resamples, leaderboard or "")
    return report if other is None else report.compared(other)


def _input(role: str, path: Path) -> dict[str, str]:
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected the {role} given")
    return {"role": role, "file": path.name, "sha256": digest_file(path)}


def _settings(
    judgements: Mapping[str, str | Path],
    judges: Mapping[str, Judge],
    weights: Mapping[str, str | Path],
    no_error_severity: float,
) -> Settings:
    given: tuple[tuple[Mapping[str, object], str, tuple[str, ...]], ...] = (
        (judgements, "judge outputs are read", _JUDGED),
        (judges, "judge is asked", _JUDGED),
        (weights, "weights are known", tuple(KNOWN)),
    )
    for names, what, allowed in given:
        for name in names:
            if name not in allowed:
                raise UsageError(f"no {what} for {name!r}; expected {', '.join(allowed[:-1])} or {allowed[-1]}")
    if not 0 <= no_error_severity <= 4:
        raise UsageError(f"no_error_severity is {no_error_severity:g}; expected 0 to 4")
    return Settings(
        {name: Path(path) for name, path in judgements.items()},
        no_error_severity,
        {name: Path(path).expanduser() for name, path in weights.items()},
        judges=judges,
    )


def _named_file(references: Path) -> Path:
    """What stands for the references among the inputs: a dataset folder's manifest has the digests of its shards."""
    if not references.is_dir():
        return references
    from instruct.build.output import MANIFEST

    return references / MANIFEST


def _part(plan: Plan, files: Sequence[ScoreFile], settings: Settings, seed: int, resamples: int) -> Part:
    group, given, chosen, work = plan.group, plan.given, plan.chosen, plan.work
    has = given.has_reference()
    run_metrics(chosen, plan.named, plan.pairs, settings, work)
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
                    origin="; ".join(dict.fromkeys(work.origins[column] for column in statistic.columns)),
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
        {name: spread(values, has) for name, values in work.columns.items() if name in asked},
        {**work.counts, **({"examples_without_prediction": given.without[group]} if group in given.without else {})},
        tuple(notes),
        work.made_with,
        {name: placed(outputs, has) for name, outputs in work.outputs.items()},
    )


def _versions(*, with_models: bool) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    models = ("torch", "transformers", "tokenizers", "safetensors") if with_models else ()
    for name in ("cxr-instruct", "numpy", "pyarrow", "rapidfuzz", *models):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed as a package"
    return versions
