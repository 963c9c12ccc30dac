"""RadGraph inference over many reports at once, without padding between them.

A span is a run of words; its vector is [first word; last word; width]. The first layer of every scorer is applied to
those parts before they are put together, and relations are scored only between kept spans that are entities, since no
other relation counts. Both give the numbers of the published model at a fraction of its work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct.evaluation.models.radgraph_archive import Layers, RadGraph
from instruct.evaluation.models.radgraph_words import pieces_of, word_vectors, words_of
from instruct.evaluation.models.runtime import BATCH, batches
from instruct.evaluation.radgraph import Annotation

_SPANS = 1 << 16
_PAIRS = 1 << 13


@dataclass(frozen=True)
class _Spans:
    """All spans of a batch; ``first`` and ``last`` count words over the whole batch, ``report`` is the owner."""

    first: NDArray[np.int64]
    last: NDArray[np.int64]
    report: NDArray[np.int64]


def annotate(model: RadGraph, texts: Sequence[str], batch: int = BATCH) -> list[Annotation]:
    """Entities and relations of each text; a text without words has none.

    Args:
        model: the loaded model.
        texts: reports.
        batch: reports at once; changes the speed alone.
    """
    import torch

    reports = [words_of(text) for text in texts]
    found: dict[int, Annotation] = {}
    for places in batches([len(report) for report in reports], batch):
        with torch.inference_mode():
            annotations = _annotate(model, [reports[place] for place in places])
        found.update(zip(places, annotations, strict=True))
    return [found[place] for place in range(len(texts))]


def _annotate(model: RadGraph, reports: list[list[str]]) -> list[Annotation]:
    if not any(reports):
        return [Annotation() for _ in reports]
    words = word_vectors(reports, pieces_of(reports, model.tokenizer), model.encoder, model.tokenizer, model.segment)
    spans = _spans(reports, model.widest)
    scores = _span_scores(model, model.ner, words, spans)
    best, which = scores.max(dim=1)
    labels = np.where((best > 0).cpu().numpy(), which.cpu().numpy() + 1, 0)
    mention = _span_scores(model, model.mention, words, spans)[:, 0]
    entities = np.flatnonzero(labels)
    kept = _kept(mention, spans, reports, model.spans_per_word)
    ends = entities[kept[entities]]
    sources, targets, kinds = _relations(model, words, spans, mention, ends)
    start = np.cumsum([0, *map(len, reports)])
    annotations = []
    for number, report in enumerate(reports):
        ours = entities[spans.report[entities] == number]
        place = {int(span): position for position, span in enumerate(ours)}
        text = [
            " ".join(report[spans.first[span] - start[number] : spans.last[span] - start[number] + 1]) for span in ours
        ]
        mine = spans.report[sources] == number
        annotations.append(
            Annotation(
                tuple(zip(text, (model.labels[labels[span]] for span in ours), strict=True)),
                tuple(
                    (place[int(source)], place[int(target)], model.types[kind])
                    for source, target, kind in zip(sources[mine], targets[mine], kinds[mine], strict=True)
                ),
            )
        )
    return annotations


def _spans(reports: list[list[str]], widest: int) -> _Spans:
    """Every run of up to ``widest`` words of every report, by its first word, then its last."""
    first, last, owner = [], [], []
    start = 0
    for number, report in enumerate(reports):
        begin, width = np.divmod(np.arange(len(report) * widest), widest)
        inside = begin + width < len(report)
        first.append(begin[inside] + start)
        last.append((begin + width)[inside] + start)
        owner.append(np.full(int(inside.sum()), number))
        start += len(report)
    return _Spans(np.concatenate(first), np.concatenate(last), np.concatenate(owner))


def _span_scores(model: RadGraph, layers: Layers, words: Any, spans: _Spans) -> Any:
    """Output of a scorer for every span, shape (spans, outputs)."""
    import torch

    (weight, bias), *rest = layers
    size = words.shape[1]
    by_first = words @ weight[:, :size].T
    by_last = words @ weight[:, size : 2 * size].T
    by_width = model.widths @ weight[:, 2 * size :].T + bias
    outputs = []
    for start in range(0, len(spans.first), _SPANS):
        some = slice(start, start + _SPANS)
        first, last = (torch.from_numpy(side[some]).to(words.device) for side in (spans.first, spans.last))
        outputs.append(_rest(by_first[first] + by_last[last] + by_width[last - first], rest))
    return torch.cat(outputs)


def _rest(hidden: Any, layers: Sequence[tuple[Any, Any]]) -> Any:
    for weight, bias in layers:
        hidden = hidden.relu() @ weight.T + bias
    return hidden


def _kept(mention: Any, spans: _Spans, reports: list[list[str]], per_word: float) -> NDArray[np.bool_]:
    """Per span: is it among the best of its report, as many as words times ``per_word``?"""
    kept = np.zeros(len(spans.first), dtype=np.bool_)
    mention = mention.cpu()
    ends = np.searchsorted(spans.report, np.arange(len(reports) + 1))
    for number, report in enumerate(reports):
        low, high = int(ends[number]), int(ends[number + 1])
        if low < high:
            share = np.float32(len(report)) * np.float32(per_word)
            count = min(max(ceil(share), 1), high - low)
            kept[low + mention[low:high].topk(count).indices.numpy()] = True
    return kept


def _relations(
    model: RadGraph, words: Any, spans: _Spans, mention: Any, ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Source span, target span and type of every relation between spans of one report."""
    import torch

    owner = spans.report[ends]
    count = np.bincount(owner, minlength=1)[owner] if len(ends) else np.zeros(0, dtype=np.int64)
    begin = np.searchsorted(owner, owner)
    one = np.repeat(np.arange(len(ends)), count)
    within = np.arange(len(one)) - np.repeat(np.cumsum(count) - count, count)
    other = np.repeat(begin, count) + within
    if not len(one):
        return ends[:0], ends[:0], ends[:0]
    device = words.device
    first, last, which = (torch.from_numpy(part).to(device) for part in (spans.first[ends], spans.last[ends], ends))
    vectors = torch.cat([words[first], words[last], model.widths[last - first]], dim=1)
    score = mention[which].unsqueeze(1)
    (weight, bias), *rest = model.relation
    size = vectors.shape[1]
    by_source, by_target = vectors @ weight[:, :size].T + bias, vectors @ weight[:, size : 2 * size].T
    product = weight[:, 2 * size :].T
    types = np.full(len(one), -1)
    for start in range(0, len(one), _PAIRS):
        i, j = (torch.from_numpy(side[start : start + _PAIRS]).to(device) for side in (one, other))
        outputs = _rest(by_source[i] + by_target[j] + (vectors[i] * vectors[j]) @ product, rest) + score[i] + score[j]
        best, kind = outputs.max(dim=1)
        types[start : start + _PAIRS] = torch.where(best > 0, kind, -1).cpu().numpy()
    is_relation = types >= 0
    return ends[one[is_relation]], ends[other[is_relation]], types[is_relation]
