"""RadGraph F1 of two annotated reports: as RadCliQ and ReXrank define it, and the three levels of F1RadGraph.

The levels follow F1RadGraph 0.1.18: texts are case-sensitive, except in the relations of ``complete``.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

Entity = tuple[str, str]
Relation = tuple[Entity, Entity, str]


@dataclass(frozen=True)
class Annotation:
    """What RadGraph found in a report, entity by entity in the order of the text.

    Attributes:
        entities: (text, label) of every entity.
        relations: (position of the source, position of the target, type).
    """

    entities: tuple[Entity, ...] = ()
    relations: tuple[tuple[int, int, str], ...] = ()

    def graph(self) -> Graph:
        """As sets, without positions."""
        found = self.entities
        return Graph(
            frozenset(found),
            frozenset((found[source], found[target], kind) for source, target, kind in self.relations),
        )

    def level(self, name: str) -> frozenset[tuple[object, ...]]:
        """What a level of F1RadGraph compares.

        Args:
            name: ``simple`` (text and label), ``partial`` (and whether there is a relation from it) or ``complete``
                (and each relation from it).
        """
        if name == "simple":
            return frozenset(self.entities)
        items: set[tuple[object, ...]] = set()
        for place, (text, label) in enumerate(self.entities):
            ours = [(kind, self.entities[target][0]) for source, target, kind in self.relations if source == place]
            if not ours:
                items.add((text, label))
            elif name == "partial":
                items.add((text, label, True))
            else:
                items.update((text.lower(), label, kind, target.lower()) for kind, target in ours)
        return frozenset(items)


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
