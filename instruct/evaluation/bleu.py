"""BLEU-1 to BLEU-4 per report, with the tokens and the smoothing of the official ReXrank evaluation.

Source: CXR-Report-Metric's ``run_eval.py`` (tokens) and fast_bleu 0.0.90 (score), which equals nltk's
``sentence_bleu`` with smoothing method 1. The value of a set is the mean over its reports, not corpus BLEU.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from instruct.evaluation.metric import Metric, Scores, Settings, Values, mean_metric
from instruct.evaluation.pairs import Pairs

ORDERS = (1, 2, 3, 4)
_EPSILON = 0.1
_BATCH = 256  # what a batch counts fits a processor cache


def bleu_tokens(text: str) -> list[str]:
    """Lower-cased words; only full stops are set apart, other marks stay on their word.

    Words are parted at single spaces, so a line break stays inside its token, as in the official code.
    """
    return [token for token in _spaced(text).split(" ") if token]


def bleu(prediction: Sequence[str], references: Sequence[Sequence[str]], order: int = 2) -> float:
    """Sentence BLEU of tokens against one or more references, uniform weights, smoothing method 1.

    Args:
        prediction: tokens of the candidate.
        references: tokens of each reference.
        order: longest n-gram, 1 to 4.

    Returns:
        A value in [0, 1]; 0 for an empty prediction or one that shares no word with any reference.
    """
    length = len(prediction)
    matched = [_clipped(prediction, references, n) for n in range(1, order + 1)]
    if not matched[0]:
        return 0.0
    closest = min((abs(len(reference) - length), len(reference)) for reference in references)[1]
    penalty = 1.0 if length > closest else math.exp(1 - closest / length)
    logs = (math.log((found or _EPSILON) / max(1, length - n)) for n, found in enumerate(matched))
    return penalty * math.exp(math.fsum(logs) / order)


def bleu_batch(predictions: Sequence[str], references: Sequence[str], order: int = 2) -> Values:
    """:func:`bleu` of many texts with one reference each, counted together; shape (n,)."""
    parts = [
        _batch(predictions[start : start + _BATCH], references[start : start + _BATCH], order)
        for start in range(0, len(predictions), _BATCH)
    ]
    return np.concatenate(parts) if parts else np.zeros(0)


def _clipped(prediction: Sequence[str], references: Sequence[Sequence[str]], n: int) -> int:
    """N-grams of the prediction that occur in a reference, each at most as often as there."""
    known: Counter[tuple[str, ...]] = Counter()
    for reference in references:
        known |= _grams(reference, n)
    return (_grams(prediction, n) & known).total()


def _grams(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))


def _spaced(text: str) -> str:
    return text.lower().replace(".", " .")


def _numbered(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """:func:`bleu_tokens` of all texts in a row, as numbers that are equal where tokens are, and how many each has."""
    encoded = [_spaced(text).encode("utf-8", "surrogatepass") for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
    # Buffers and DLPack: pa.array and to_numpy would import pandas.
    spaced = pa.LargeStringArray.from_buffers(len(encoded), pa.py_buffer(ends), pa.py_buffer(b"".join(encoded)))
    parts = pc.split_pattern(spaced, " ")
    words = parts.flatten()
    there = np.from_dlpack(pc.binary_length(words)) > 0
    owner = np.repeat(np.arange(len(texts)), np.diff(np.from_dlpack(parts.offsets)))
    numbers = np.from_dlpack(words.dictionary_encode().indices).astype(np.int64)
    return numbers[there], np.bincount(owner[there], minlength=len(texts))


def _batch(predictions: Sequence[str], references: Sequence[str], order: int) -> Values:
    pairs = len(predictions)
    tokens, lengths = _numbered([*predictions, *references])
    kinds = int(tokens.max(initial=0)) + 1
    owner = np.repeat(np.arange(2 * pairs), lengths)
    pair, side = owner % pairs, owner // pairs
    given, true = lengths[:pairs], lengths[pairs:]
    logs = np.zeros(pairs)
    found = np.zeros(pairs, dtype=np.int64)
    grams = tokens
    for n in range(1, order + 1):
        if n > 1:
            if n > 2:
                grams = np.unique(grams, return_inverse=True)[1]
            grams = grams[:-1] * kinds + tokens[n - 1 :]
            whole = np.flatnonzero(owner[: len(grams)] == owner[n - 1 :])
            matched = _matched(grams[whole], pair[whole], side[whole], pairs)
        else:
            matched = _matched(grams, pair, side, pairs)
        if n == 1:
            found = matched
        logs += np.log(np.where(matched > 0, matched, _EPSILON) / np.maximum(1, given - n + 1))
    penalty = np.where(given > true, 1.0, np.exp(1 - true / np.maximum(1, given)))
    return np.where(found > 0, penalty * np.exp(logs / order), 0.0)


def _matched(
    grams: NDArray[np.int64], pair: NDArray[np.int64], side: NDArray[np.int64], pairs: int
) -> NDArray[np.int64]:
    """Clipped matches of each pair; side 0 is its prediction, 1 its reference."""
    if not len(grams):
        return np.zeros(pairs, dtype=np.int64)
    kinds = int(grams.max()) + 1
    keys = np.sort((pair * kinds + grams) * 2 + side)
    same = keys >> 1
    starts = np.flatnonzero(np.concatenate(([True], same[1:] != same[:-1])))
    in_reference = np.add.reduceat(keys & 1, starts)
    total = np.diff(np.append(starts, len(keys)))
    clipped = np.minimum(in_reference, total - in_reference)
    return np.bincount(same[starts] // kinds, weights=clipped, minlength=pairs).astype(np.int64)


def _metric(order: int) -> Metric:
    name = f"bleu{order}"

    def score(pairs: Pairs, settings: Settings) -> Scores:
        return Scores({name: bleu_batch(pairs.predictions, pairs.texts, order)})

    return mean_metric(
        name,
        f"BLEU-{order}",
        f"bleu-{order}[cxr-report-metric tokens, sentence, smoothing 1, mean of reports]",
        score,
        aliases=("bleu_score", "BLEU") if order == 2 else (),
    )


BLEU = tuple(_metric(order) for order in ORDERS)
