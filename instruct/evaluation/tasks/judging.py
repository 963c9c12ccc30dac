"""Report evaluation: does the model rank reports by their errors as radiologists do?"""

from __future__ import annotations

import math

import numpy as np

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
    upper = np.triu_indices(len(targets), 1)
    true = np.sign(targets[:, None] - targets[None, :])[upper]
    said = np.sign(answers[:, None] - answers[None, :])[upper]
    said = np.where(np.isnan(said), -true, said)
    scale = math.sqrt(float(np.count_nonzero(said)) * float(np.count_nonzero(true)))
    return float((said * true).sum()) / scale if scale else float("nan")


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
