"""Named entities and relations: precision, recall and F1 of exact sets, micro over the set of examples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic, Values
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import answers_and_targets, json_of


class Annotation(NamedTuple):
    """Entities and relations of one text, as sets of tuples that are equal only where every part is."""

    entities: frozenset[tuple[Any, ...]]
    relations: frozenset[tuple[Any, ...]]


def annotation_of(value: Any, extra: Mapping[str, Any]) -> Annotation | None:
    """A list of entities such as [text, type], or ``{"entities": [...], "relations": [...]}``; a text must be JSON."""
    if isinstance(value, str):
        value = json_of(value)
    if isinstance(value, list):
        value = {"entities": value}
    if not isinstance(value, dict):
        return None
    parts = [value.get(name) or [] for name in Annotation._fields]
    if not all(isinstance(part, list) and all(isinstance(item, list) for item in part) for part in parts):
        return None
    try:
        return Annotation(*(frozenset(_tuple(item) for item in part) for part in parts))
    except ValueError:
        return None


def precision(hits: Values, given: Values, true: Values) -> float:
    """Hits over things given; 0 where nothing is given, NaN where there is nothing to give either."""
    return float(hits.sum() / given.sum()) if given.sum() else _nothing(true)


def recall(hits: Values, given: Values, true: Values) -> float:
    """Hits over true things; 0 where there are none, NaN where none is given either."""
    return float(hits.sum() / true.sum()) if true.sum() else _nothing(given)


def f1(hits: Values, given: Values, true: Values) -> float:
    """2·hits / (given + true); NaN where there is nothing at all."""
    total = given.sum() + true.sum()
    return float(2 * hits.sum() / total) if total else math.nan


def _nothing(other_side: Values) -> float:
    return 0.0 if other_side.sum() else math.nan


def _tuple(item: list[Any], depth: int = 3) -> tuple[Any, ...]:
    """A list as a tuple.

    Raises:
        ValueError: it holds objects, or lists deeper than an end of a relation is.
    """
    if depth == 0 or any(isinstance(part, dict) for part in item):
        raise ValueError
    return tuple(_tuple(part, depth - 1) if isinstance(part, list) else part for part in item)


def _score(pairs: Pairs, settings: Settings) -> Scores:
    answers, targets = answers_and_targets(pairs, annotation_of)
    nothing = Annotation(frozenset(), frozenset())
    table = np.empty((len(pairs), len(NER.columns)))
    for row, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        counts = [(len(a & t), len(a), len(t)) for a, t in zip(answer or nothing, target, strict=True)]
        (hits, given, true), relations = counts
        per_example = 2 * hits / (given + true) if given + true else float(answer is not None)
        table[row] = per_example, hits, given, true, *relations
    return Scores(
        {column.name: table[:, place] for place, column in enumerate(NER.columns)},
        {"unparsed_answers": sum(answer is None for answer in answers)},
    )


def _statistics(kind: str, title: str) -> tuple[Statistic, ...]:
    columns = tuple(f"{kind}_{name}" for name in ("hits", "given", "true"))
    return tuple(
        Statistic(
            f"{kind}_{name}",
            f"{title} {label}",
            f"micro {label.lower()} of exact {kind} sets over all examples",
            "higher",
            columns,
            combine,
        )
        for name, label, combine in (
            ("precision", "precision", precision),
            ("recall", "recall", recall),
            ("f1", "F1", f1),
        )
    )


NER = Metric(
    name="ner",
    columns=(
        Column("entity_example_f1"),
        *(Column(f"entity_{name}", high=1e6) for name in ("hits", "given", "true")),
        *(Column(f"relation_{name}", high=1e6) for name in ("hits", "given", "true")),
    ),
    statistics=(
        *_statistics("entity", "Entity"),
        *_statistics("relation", "Relation"),
        Statistic(
            "entity_example_f1",
            "Entity F1 per example",
            "F1 of each example's entity set (both empty = 1), mean",
            "higher",
            ("entity_example_f1",),
        ),
    ),
    score=_score,
)
