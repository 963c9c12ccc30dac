"""Label sets: exact sets, set F1, micro and macro F1 over a closed set of labels or all that occur."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic, Values
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import answers_and_targets, labels_of, normal, options_of


def micro_f1(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """F1 of all (study, label) decisions together, in [0, 1]; 0 where nothing is positive.

    Args:
        prediction: 0/1, shape (studies, labels).
        reference: 0/1, same shape.
    """
    hits = float((prediction * reference).sum())
    total = float(prediction.sum() + reference.sum())
    return 2 * hits / total if total else 0.0


def macro_f1(prediction: NDArray[Any], reference: NDArray[Any]) -> float:
    """Mean over labels of the label's F1, in [0, 1]; a label that nobody has or gives counts 0.

    Args:
        prediction: 0/1, shape (studies, labels).
        reference: 0/1, same shape.
    """
    return float(_label_f1(prediction, reference)[0].mean())


def macro_f1_of_resample(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    all_predictions: NDArray[Any],
    all_references: NDArray[Any],
) -> float:
    """:func:`macro_f1` of a resample, in which rare labels are often not drawn; NaN where none is.

    A label that all the data have and the resample has not says nothing about the model, so the mean is over the labels
    of the resample. Labels that the data do not have either count 0, as they do in the value.

    Args:
        prediction: 0/1, shape (drawn studies, labels).
        reference: 0/1, same shape.
        all_predictions: those of all studies.
        all_references: same shape as these.
    """
    scores, occurs = _label_f1(prediction, reference)
    share = float((all_predictions.any(axis=0) | all_references.any(axis=0)).mean())
    return share * float(scores[occurs].mean()) if occurs.any() else math.nan


def _label_f1(prediction: NDArray[Any], reference: NDArray[Any]) -> tuple[Values, NDArray[np.bool_]]:
    """F1 of each label, 0 for one that does not occur, and which do."""
    hits = (prediction * reference).sum(axis=0, dtype=np.float64)
    total = prediction.sum(axis=0, dtype=np.float64) + reference.sum(axis=0, dtype=np.float64)
    return np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0), total > 0


def indicator(sets: Sequence[frozenset[str] | None], labels: Sequence[str]) -> Values:
    """0/1 matrix of shape (studies, labels); the row of an unread answer (None) is all 0."""
    return np.array([[label in (given or ()) for label in labels] for given in sets], dtype=np.float64)


def _score(pairs: Pairs, settings: Settings) -> Scores:
    answers, targets = answers_and_targets(pairs, labels_of)
    truth = [target if target is not None else frozenset[str]() for target in targets]
    options = {normal(option) for extra in pairs.extras for option in options_of(extra)}
    labels = sorted(options.union(*truth, *(answer or () for answer in answers)))
    exact = [answer == target for answer, target in zip(answers, truth, strict=True)]
    overlap = [_set_f1(answer, target) for answer, target in zip(answers, truth, strict=True)]
    columns = {"label_exact": np.array(exact, dtype=np.float64), "label_f1": np.array(overlap, dtype=np.float64)}
    # An unread answer must cost recall on every label and cannot gain on 'nothing found': its row stays all 0.
    columns["label_prediction"] = indicator(answers, labels)
    columns["label_reference"] = indicator(truth, labels)
    return Scores(
        columns, {"unparsed_answers": sum(answer is None for answer in answers), "closed_set_labels": len(labels)}
    )


def _set_f1(answer: frozenset[str] | None, target: frozenset[str]) -> float:
    if answer is None:
        return 0.0
    if not answer and not target:
        return 1.0
    return 2 * len(answer & target) / (len(answer) + len(target))


LABELS = Metric(
    name="labels",
    columns=(
        Column("label_exact"),
        Column("label_f1"),
        Column("label_prediction", width=0),
        Column("label_reference", width=0),
    ),
    statistics=(
        Statistic("label_exact", "Exact set", "exact label set, share of examples", "higher", ("label_exact",)),
        Statistic(
            "label_f1", "Set F1", "F1 of each example's label set (both empty = 1), mean", "higher", ("label_f1",)
        ),
        Statistic(
            "label_macro_f1",
            "Macro-F1",
            "F1 per label of the closed set (without one, of those that occur), zero division 0, mean of labels",
            "higher",
            ("label_prediction", "label_reference"),
            macro_f1,
            resampled=macro_f1_of_resample,
        ),
        Statistic(
            "label_micro_f1",
            "Micro-F1",
            "F1 of all (example, label) decisions, invented labels included",
            "higher",
            ("label_prediction", "label_reference"),
            micro_f1,
        ),
    ),
    score=_score,
)
