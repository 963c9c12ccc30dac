"""Report evaluation: does the model rank reports by their errors as radiologists do?"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from instruct.errors import DataError
from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic, Values
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import answers_and_targets, numbers_of

_UNREAD = -1e9


def kendall_tau_b(answers: Values, targets: Values) -> float:
    """Kendall's tau-b in [−1, 1]; NaN where either side is constant.

    Two examples of which one has no readable answer (NaN) count as put in the wrong order.

    Args:
        answers: predicted numbers, NaN for unread, shape (n,).
        targets: true numbers, shape (n,).
    """
    read = ~np.isnan(answers)
    said, true = answers[read], targets[read]
    gap = _pairs_apart(targets) - _pairs_apart(true)  # the pairs with an unread answer
    scale = math.sqrt(float(_pairs_apart(said) + gap) * float(_pairs_apart(targets)))
    return float(_agreement(said, true) - gap) / scale if scale else float("nan")


def _pairs_apart(values: Values) -> int:
    """Pairs whose values differ."""
    counts = np.unique(values, return_counts=True)[1]
    return int(len(values) ** 2 - (counts**2).sum()) // 2


def _agreement(answers: Values, targets: Values) -> int:
    """Pairs in the same order on both sides less those in opposite order, from how often any two values meet."""
    (said, rows), (true, columns) = (np.unique(values, return_inverse=True) for values in (answers, targets))
    table = np.bincount(rows * len(true) + columns, minlength=len(said) * len(true)).reshape(len(said), len(true))
    return _in_order(table) - _in_order(table[:, ::-1])


def _in_order(table: NDArray[np.intp]) -> int:
    """Pairs of which one is in a later row and a later column than the other."""
    later = table[::-1, ::-1].cumsum(axis=0).cumsum(axis=1)[::-1, ::-1]
    return int((table[:-1, :-1] * later[1:, 1:]).sum())


def _score(pairs: Pairs, settings: Settings) -> Scores:
    answers, targets = answers_and_targets(pairs, numbers_of)
    widths = {len(target) for target in targets}
    if len(widths) != 1:
        raise DataError(f"report evaluation: true answers have {sorted(widths)} numbers; expected one number of them")
    (width,) = widths
    # A wrong number of categories is no readable answer.
    read = [answer if answer is not None and len(answer) == width else None for answer in answers]
    total = np.array([math.nan if answer is None else math.fsum(answer) for answer in read])
    true = np.array([math.fsum(target) for target in targets])
    error = np.array(
        [
            math.nan if answer is None else math.fsum(abs(a - t) for a, t in zip(answer, target, strict=True)) / width
            for answer, target in zip(read, targets, strict=True)
        ]
    )
    unread = np.isnan(total).astype(np.float64)
    return Scores(
        {
            "errors_answer": np.where(unread > 0, _UNREAD, total),
            "errors_target": true,
            "errors_mae": error,
        },
        {"unparsed_answers": int(unread.sum())},
    )


def _tau(answers: Values, targets: Values) -> float:
    return kendall_tau_b(np.where(answers == _UNREAD, np.nan, answers), targets)


JUDGING = Metric(
    name="report_evaluation",
    columns=(
        Column("errors_answer", _UNREAD, 1e9),
        Column("errors_target", -1e9, 1e9),
        Column("errors_mae", 0, 1e9),
    ),
    statistics=(
        Statistic(
            "kendall_tau_b",
            "Kendall tau-b",
            "tau-b of predicted and true error counts, unread answers ordered wrongly",
            "higher",
            ("errors_answer", "errors_target"),
            _tau,
        ),
        Statistic(
            "errors_mae",
            "Count error",
            "mean absolute error per category, read answers only",
            "lower",
            ("errors_mae",),
        ),
    ),
    score=_score,
)
