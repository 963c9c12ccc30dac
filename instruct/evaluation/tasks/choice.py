"""One answer out of several: single choice, yes/no, natural language inference, temporal classification."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic, Values
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import Reader, answers_and_targets, choice_of, normal, options_of, yes_no_of

UNREAD = -1.0


def class_macro_f1(answers: Values, targets: Values) -> float:
    """Mean F1 over the classes that occur as target or answer; class numbers, :data:`UNREAD` is no class."""
    scores = []
    for one in np.unique(np.concatenate([answers[answers != UNREAD], targets])):
        given, true = answers == one, targets == one
        scores.append(2 * (given & true).sum() / (given.sum() + true.sum()))
    return float(np.mean(scores))


def class_macro_accuracy(answers: Values, targets: Values) -> float:
    """Mean over the true classes of the share of their examples answered rightly (mean recall)."""
    return float(np.mean([(answers[targets == one] == one).mean() for one in np.unique(targets)]))


def finding_macro_accuracy(answers: Values, targets: Values, findings: Values) -> float:
    """Mean over findings of :func:`class_macro_accuracy`: the temporal macro-accuracy of MS-CXR-T."""
    return float(
        np.mean(
            [class_macro_accuracy(answers[findings == one], targets[findings == one]) for one in np.unique(findings)]
        )
    )


def _columns(pairs: Pairs, prefix: str, reader: Reader[str], *, confusion: bool = False) -> Scores:
    answers, targets = answers_and_targets(pairs, reader)
    classes = sorted(set(targets) | {normal(option) for extra in pairs.extras for option in options_of(extra)})
    number = {name: float(place) for place, name in enumerate(classes)}
    # An answer outside the classes (possible only without options) is wrong for every one of them.
    said = np.array([UNREAD if answer is None else number.get(answer, UNREAD) for answer in answers])
    true = np.array([number[target] for target in targets])
    columns: dict[str, Any] = {
        f"{prefix}_correct": (said == true).astype(np.float64),
        f"{prefix}_answer": said,
        f"{prefix}_target": true,
    }
    counts = {"unparsed_answers": sum(answer is None for answer in answers)}
    if confusion:
        table = Counter(zip(targets, answers, strict=True))
        counts |= {
            f"{prefix}: {true} read as {answer or 'unparsed'}": table[true, answer]
            for true in classes
            for answer in (*classes, None)
        }
    return Scores(columns, counts)


def _metric(prefix: str, label: str, reader: Reader[str], *, confusion: bool = False) -> Metric:
    def score(pairs: Pairs, settings: Settings) -> Scores:
        return _columns(pairs, prefix, reader, confusion=confusion)

    coded = (f"{prefix}_answer", f"{prefix}_target")
    return Metric(
        name=prefix,
        columns=(Column(f"{prefix}_correct"), *(Column(name, UNREAD, 1e6) for name in coded)),
        statistics=(
            Statistic(
                f"{prefix}_accuracy", f"{label} accuracy", "share answered rightly", "higher", (f"{prefix}_correct",)
            ),
            Statistic(
                f"{prefix}_macro_f1",
                f"{label} macro-F1",
                "F1 per class that occurs, mean of classes",
                "higher",
                coded,
                class_macro_f1,
            ),
        ),
        score=score,
    )


CHOICE = _metric("choice", "Choice", choice_of)
YES_NO = _metric("yes_no", "Yes/no", yes_no_of)
NLI = _metric("nli", "NLI", choice_of, confusion=True)


def _temporal(pairs: Pairs, settings: Settings) -> Scores:
    scores = _columns(pairs, "temporal", choice_of)
    names = [normal(extra.get("finding") or "") for extra in pairs.extras]
    number = {name: float(place) for place, name in enumerate(sorted(set(names)))}
    findings = np.array([number[name] for name in names])
    return Scores({**scores.columns, "temporal_finding": findings}, scores.counts)


TEMPORAL = Metric(
    name="temporal",
    columns=(
        Column("temporal_correct"),
        *(Column(f"temporal_{name}", UNREAD, 1e6) for name in ("answer", "target", "finding")),
    ),
    statistics=(
        Statistic(
            "temporal_macro_accuracy",
            "Temporal macro-accuracy",
            "mean over findings of the mean recall of their classes",
            "higher",
            ("temporal_answer", "temporal_target", "temporal_finding"),
            finding_macro_accuracy,
        ),
        Statistic("temporal_accuracy", "Temporal accuracy", "share answered rightly", "higher", ("temporal_correct",)),
    ),
    score=_temporal,
)
