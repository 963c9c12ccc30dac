"""FineRadScore as ReXrank uses it: the worst clinical severity among a judge's line-by-line corrections.

The severity words count 1 to 4, a report scores its worst line, a set is the mean of its reports, and the board
prints the reciprocal of that mean. What a report without any correction scores is not published;
``no_error_severity`` (1 by default, the least of the scale) says it and is part of the definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from instruct.evaluation.judgements import judge_outputs
from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import json_of

SEVERITIES = {"not actionable": 1, "actionable nonurgent error": 2, "urgent error": 3, "emergent error": 4}


def read_fineradscore(output: Any, *, no_error_severity: float = 1.0) -> float | None:
    """Severity of one report, or None where the judge's output cannot be read.

    Args:
        output: the judge's JSON, as text (words around the object are allowed) or already parsed: sentence id
            (or "None" for an insertion) → a correction or a list of corrections with ``clinical severity``.
        no_error_severity: value of a report without corrections.
    """
    if isinstance(output, str):
        output = json_of(output[output.find("{") : output.rfind("}") + 1])
    if not isinstance(output, dict):
        return None
    severities = []
    for correction in _corrections(output):
        word = correction.get("clinical severity") if isinstance(correction, dict) else None
        level = (
            SEVERITIES.get(" ".join(word.replace("-", "").split()).strip(" .").lower())
            if isinstance(word, str)
            else None
        )
        if level is None:
            return None
        severities.append(level)
    return float(max(severities)) if severities else no_error_severity


def _corrections(output: dict[str, Any]) -> Iterator[Any]:
    for value in output.values():
        yield from value if isinstance(value, list) else (value,)


def _score(pairs: Pairs, settings: Settings) -> Scores:
    judged = judge_outputs("fineradscore", pairs, settings, lambda output: read_fineradscore(output) is not None)
    read = [read_fineradscore(output, no_error_severity=settings.no_error_severity) for output in judged.outputs]
    values = np.array([np.nan if value is None else value for value in read], dtype=np.float64)
    counts = {"fineradscore_failed": sum(value is None for value in read)}
    return Scores({"fineradscore": values}, counts, judged.made_with, judged.to_keep)


FINERADSCORE = Metric(
    name="fineradscore",
    columns=(Column("fineradscore", 0, 4, aliases=("FineRadScore",)),),
    statistics=(
        Statistic(
            "fineradscore",
            "FineRadScore",
            "fineradscore[worst severity 1-4 per report, mean of studies]",
            "lower",
            ("fineradscore",),
        ),
        Statistic(
            "inv_fineradscore",
            "1/FineRadScore",
            "1/fineradscore[reciprocal of the mean of studies]",
            "higher",
            ("fineradscore",),
            reciprocal=True,
        ),
    ),
    score=_score,
)
