"""Questions about images or texts: exact match, token F1 and token recall, and accuracy of closed questions.

Texts are normalised as in extractive question answering: lower case, no punctuation, no articles. Where a row has
options, the answer is what its text names of them, and is right where that is exactly what is right. Where it has
several accepted answers (``target`` is a list) and no options, each score is against the one that is met best.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import answers_and_targets, labels_of, yes_no_of

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_tokens(text: str) -> list[str]:
    """Words in lower case without punctuation marks and articles."""
    return _ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(prediction: str, reference: str) -> float:
    """1 where the normalised texts are equal, else 0."""
    return float(answer_tokens(prediction) == answer_tokens(reference))


def token_overlap(prediction: str, reference: str) -> tuple[float, float]:
    """Token F1 and token recall of two texts as multisets of normalised words; both 1 where both have no words."""
    ours, theirs = answer_tokens(prediction), answer_tokens(reference)
    if not ours or not theirs:
        both = float(ours == theirs)
        return both, both
    shared = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * shared / (len(ours) + len(theirs)), shared / len(theirs)


def _is_yes_no(accepted: Sequence[str]) -> bool:
    return all(" ".join(answer_tokens(true)) in ("yes", "no") for true in accepted)


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]


def _open(said: str, accepted: Sequence[str]) -> tuple[float, ...]:
    """Scores of words against the accepted answer that is met best, each on its own; an empty answer is wrong."""
    if not said:
        return 0.0, 0.0, 0.0
    rows = [(exact_match(said, true), *token_overlap(said, true)) for true in accepted]
    return tuple(map(max, zip(*rows, strict=True)))


def _chosen(said: frozenset[str] | None, right: frozenset[str]) -> tuple[float, ...]:
    """Scores of the options chosen: exact and closed for the right set, words for what the options have in common."""
    if said is None:
        return 0.0, 0.0, 0.0, 0.0
    exact = float(said == right)
    overlap = token_overlap(" ".join(sorted(said)), " ".join(sorted(right)))
    return exact, *overlap, exact


def _score(pairs: Pairs, settings: Settings) -> Scores:
    table = np.empty((len(pairs), 4))
    unread = 0
    closed = [row for row, extra in enumerate(pairs.extras) if extra.get("options")]
    for row, said, right in zip(closed, *answers_and_targets(pairs.select(closed), labels_of), strict=True):
        unread += said is None
        table[row] = _chosen(said, right)
    for row, (prediction, reference, extra) in enumerate(
        zip(pairs.predictions, pairs.texts, pairs.extras, strict=True)
    ):
        if extra.get("options"):
            continue
        target, answer = extra.get("target"), extra.get("answer", prediction or None)
        true = reference if target is None else target
        accepted = _texts(true) or [""]
        table[row, :3] = _open("" if answer is None else str(answer), accepted)
        if _is_yes_no(accepted):
            word = yes_no_of(answer, extra)
            unread += word is None
            table[row, 3] = word in {yes_no_of(one, extra) for one in accepted}
        else:
            unread += answer is None
            table[row, 3] = np.nan
    return Scores({name: table[:, place] for place, name in enumerate(_NAMES)}, {"unparsed_answers": unread})


_NAMES = ("vqa_exact", "vqa_f1", "vqa_recall", "vqa_closed")
VQA = Metric(
    name="vqa",
    columns=tuple(Column(name) for name in _NAMES),
    statistics=(
        Statistic("vqa_exact", "Exact match", "equal after normalisation, share", "higher", ("vqa_exact",)),
        Statistic("vqa_f1", "Token F1", "F1 of normalised word multisets, mean", "higher", ("vqa_f1",)),
        Statistic("vqa_recall", "Token recall", "recall of normalised word multisets, mean", "higher", ("vqa_recall",)),
        Statistic(
            "vqa_closed",
            "Closed accuracy",
            "share of yes/no and option questions answered rightly",
            "higher",
            ("vqa_closed",),
        ),
    ),
    score=_score,
)
