"""Questions about images or texts: exact match, token F1 and token recall, and accuracy of closed questions.

Texts are normalised as in extractive question answering: lower case, no punctuation, no articles.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import choice_of, options_of, yes_no_of

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


def _closed(prediction: str, reference: str, extra: Mapping[str, Any]) -> float:
    """Is a closed question answered rightly? NaN for an open one."""
    if options_of(extra):
        target = choice_of(reference, extra)
        return float(target is not None and choice_of(prediction, extra) == target)
    if " ".join(answer_tokens(reference)) in ("yes", "no"):
        return float(yes_no_of(prediction, extra) == yes_no_of(reference, extra))
    return float("nan")


def _score(pairs: Pairs, settings: Settings) -> Scores:
    table = np.empty((len(pairs), 4))
    for row, (prediction, reference, extra) in enumerate(
        zip(pairs.predictions, pairs.texts, pairs.extras, strict=True)
    ):
        target, answer = extra.get("target"), extra.get("answer", prediction)
        true = reference if target is None else str(target)
        said = "" if answer is None else str(answer)
        # An empty answer is wrong even where the normalised truth has no words.
        overlap = token_overlap(said, true) if said else (0.0, 0.0)
        table[row] = exact_match(said, true) if said else 0.0, *overlap, _closed(said, true, extra)
    return Scores({name: table[:, place] for place, name in enumerate(_NAMES)})


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
