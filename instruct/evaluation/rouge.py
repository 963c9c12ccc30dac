"""ROUGE-L: F-measure of the longest common subsequence of words, without stemming.

The tokens and the score are those of the rouge-score package: lower-cased runs of ``a-z0-9``. A text in another
script has no tokens and scores 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import LCSseq

from instruct.evaluation.metric import Scores, Settings, mean_metric
from instruct.evaluation.pairs import Pairs

_WORD = re.compile(r"[a-z0-9]+")


def rouge_tokens(text: str) -> list[str]:
    """Lower-cased runs of ASCII letters and digits."""
    return _WORD.findall(text.lower())


def rouge_l(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """F1 of the longest common subsequence of two token lists, in [0, 1]; 0 where either is empty."""
    if not prediction or not reference:
        return 0.0
    common: int = LCSseq.similarity(prediction, reference)
    if not common:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def _score(pairs: Pairs, settings: Settings) -> Scores:
    values = np.fromiter(
        (
            rouge_l(rouge_tokens(prediction), rouge_tokens(reference))
            for prediction, reference in zip(pairs.predictions, pairs.texts, strict=True)
        ),
        dtype=np.float64,
        count=len(pairs),
    )
    return Scores({"rouge_l": values})


ROUGE_L = mean_metric("rouge_l", "ROUGE-L", "rouge-l[F1, rouge-score tokens, no stemmer, mean of reports]", _score)
