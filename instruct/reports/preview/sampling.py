"""A sample in which every task, dataset and split has its share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TypeVar

from instruct.digest import digest_json
from instruct.reports.preview.rows import Group

_T = TypeVar("_T")


def sample(groups: Sequence[Group], size: int, seed: int) -> list[int]:
    """Places of the examples of a sample, ascending.

    Every group gives one example before any gives a second. Where the sample is smaller than the number of groups,
    every task comes before a task's second dataset, and that before a second split. A larger size only adds examples.

    Args:
        groups: all groups of the folder.
        size: number of examples; fewer where there are fewer.
        seed: key of the choice.
    """
    draws = [_draw(group, seed) for group in _fair(groups)]
    places: list[int] = []
    while draws and len(places) < size:
        drawn = [(draw, next(draw, None)) for draw in draws]
        places += [place for _, place in drawn if place is not None]
        draws = [draw for draw, place in drawn if place is not None]
    return sorted(places[:size])


def _draw(group: Group, seed: int) -> Iterator[int]:
    """A group's places in an order of its own."""
    seen: set[int] = set()
    number = 0
    while len(seen) < group.examples:
        facts = [seed, group.task, group.dataset, group.split, number]
        row = int(digest_json(facts)[:16], 16) % group.examples
        number += 1
        if row not in seen:
            seen.add(row)
            yield group.first + row


def _fair(groups: Sequence[Group]) -> list[Group]:
    """The groups in turns: of every task one, each time of its next dataset, each time of that one's next split."""
    tasks: dict[str, dict[str, list[Group]]] = {}
    for group in groups:
        tasks.setdefault(group.task, {}).setdefault(group.dataset, []).append(group)
    return _in_turns([_in_turns(list(datasets.values())) for datasets in tasks.values()])


def _in_turns(lists: Sequence[Sequence[_T]]) -> list[_T]:
    return [item for turn in zip_longest(*lists) for item in turn if item is not None]
