"""GREEN: errors and matched findings, counted in what the GREEN model wrote about a pair of reports.

Source: the parsing and the score of the GREEN package. The score of a study is matched findings over matched
findings plus clinically significant errors; insignificant errors do not count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from instruct.evaluation.judgements import judge_outputs
from instruct.evaluation.metric import Scores, Settings, mean_metric
from instruct.evaluation.pairs import Pairs

CATEGORIES = (
    "false finding",
    "missing finding",
    "wrong location",
    "wrong severity",
    "comparison not in the reference",
    "omitted comparison",
)
_SIGNIFICANT = "Clinically Significant Errors"
_INSIGNIFICANT = "Clinically Insignificant Errors"
_MATCHED = "Matched Findings"
_COUNT = re.compile(r": (\d{1,6})\.")
_LEADING = re.compile(r"(\d{1,6})\.")
_MARKED = (re.compile(r"\(([a-f])\) (.*)"), re.compile(r"\(([1-6])\) (.*)"))


@dataclass(frozen=True)
class GreenJudgement:
    """Counts read from one completion.

    Attributes:
        significant: clinically significant errors per category, in the order of :data:`CATEGORIES`.
        insignificant: clinically insignificant errors, same order.
        matched: findings that both reports have.
        complete: False where a section is missing from the text.
    """

    significant: tuple[int, ...]
    insignificant: tuple[int, ...]
    matched: int
    complete: bool

    @property
    def score(self) -> float:
        """Score of a study: matched / (matched + significant errors) in [0, 1]; 0 where nothing matched."""
        return self.matched / (self.matched + sum(self.significant)) if self.matched else 0.0


def read_green(completion: str) -> GreenJudgement:
    """Read one completion; a missing or unreadable section counts nothing and clears ``complete``.

    A section runs from its heading to the next blank line; one that starts with "No" holds nothing. Errors are lines
    ``(a) …: 2. …`` to ``(f)``, or else ``(1)`` to ``(6)``; the matched findings start with their number and a stop.
    """
    parts = completion.split("[Explanation]:")
    text = parts[1] if len(parts) > 1 else completion
    significant, insignificant, matched = (_section(text, name) for name in (_SIGNIFICANT, _INSIGNIFICANT, _MATCHED))
    leading = _LEADING.match(matched) if matched else None
    return GreenJudgement(
        _counts(significant),
        _counts(insignificant),
        int(leading.group(1)) if leading else 0,
        None not in (significant, insignificant, matched),
    )


def _section(text: str, name: str) -> str | None:
    found = re.search(rf"\[{name}\]:\s*(.*?)(?:\n\s*\n|\Z)", text, re.DOTALL)
    return found.group(1) if found else None


def _counts(section: str | None) -> tuple[int, ...]:
    counts = [0] * len(CATEGORIES)
    if not section or section.startswith("No"):
        return tuple(counts)
    lines = next((lines for mark in _MARKED if (lines := mark.findall(section))), [])
    for mark, line in sorted(lines):
        found = _COUNT.search(line)
        if found:
            counts["abcdef".find(mark) if mark.isalpha() else int(mark) - 1] = int(found.group(1))
    return tuple(counts)


def _score(pairs: Pairs, settings: Settings) -> Scores:
    judged = judge_outputs("green", pairs, settings, lambda output: read_green(output).complete)
    values = np.full(len(pairs), np.nan)
    incomplete = failed = 0
    for row, output in enumerate(judged.outputs):
        if not isinstance(output, str):
            failed += 1
            continue
        judgement = read_green(output)
        incomplete += not judgement.complete
        values[row] = judgement.score
    counts = {"green_failed": failed, "green_incomplete": incomplete}
    return Scores({"green": values}, counts, judged.made_with, judged.to_keep)


GREEN = mean_metric(
    "green", "GREEN", "green[matched / (matched + significant errors), mean of studies]", _score, aliases=("GREEN",)
)
