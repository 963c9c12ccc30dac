"""RadGraph F1 of two annotated reports, as RadCliQ and ReXrank define it."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

Entity = tuple[str, str]
Relation = tuple[Entity, Entity, str]


@dataclass(frozen=True)
class Graph:
    """What RadGraph found in a report; sets, case-sensitive, positions dropped.

    Attributes:
        entities: (text, label) pairs.
        relations: (source entity, target entity, type) triples.
    """

    entities: frozenset[Entity]
    relations: frozenset[Relation]


def set_f1(prediction: Set[object], reference: Set[object]) -> float:
    """F1 of two sets in [0, 1]; 0 where they share nothing, also where both are empty."""
    shared = len(prediction & reference)
    return 2 * shared / (len(prediction) + len(reference)) if shared else 0.0


def radgraph_f1(prediction: Graph, reference: Graph) -> float:
    """Mean of entity F1 and relation F1; two equal reports without relations therefore score 0.5."""
    return (set_f1(prediction.entities, reference.entities) + set_f1(prediction.relations, reference.relations)) / 2
