"""The examples of a dataset folder by their place in it, and those that a filter leaves."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.build.output import SPLIT_NAMES
from instruct.errors import UsageError
from instruct.shard import damaged, open_shard


@dataclass(frozen=True)
class Group:
    """The examples of one task, dataset and split.

    Attributes:
        task: the task's name.
        dataset: the dataset's name.
        split: train, val or test.
        source: the source whose records these are.
        first: place of its first example among all examples of the folder.
        shards: file and number of examples of each shard.
    """

    task: str
    dataset: str
    split: str
    source: str
    first: int
    shards: tuple[tuple[Path, int], ...]

    @property
    def examples(self) -> int:
        """Number of its examples."""
        return sum(number for _, number in self.shards)


@dataclass(frozen=True)
class Filter:
    """What examples are looked for; an empty field leaves all.

    Attributes:
        task: the task's name.
        dataset: the dataset's name.
        split: train, val or test.
        text: stands in the conversation or the id, whatever the case.
    """

    task: str = ""
    dataset: str = ""
    split: str = ""
    text: str = ""

    def takes(self, group: Group) -> bool:
        """Whether the group is of the task, dataset and split asked for."""
        asked = ((self.task, group.task), (self.dataset, group.dataset), (self.split, group.split))
        return all(wanted in ("", is_) for wanted, is_ in asked)


def groups_of(folder: Path, manifest: Mapping[str, Any], task: str | None, split: str | None) -> list[Group]:
    """Groups with examples, in the order of the count table, then train, val, test.

    Args:
        folder: the dataset folder.
        manifest: its manifest.
        task: ``[Task] [Dataset]`` or a configuration; None takes every task.
        split: train, val or test; None takes every split.

    Raises:
        UsageError: there is no such task, or no example of what was asked for.
    """
    entries = manifest["tasks"]
    chosen = [entry for entry in entries if task in (None, entry["name"], entry["config"])]
    if not chosen:
        raise UsageError(f"{folder} has no task {task!r}; it has: {', '.join(entry['name'] for entry in entries)}")
    groups: list[Group] = []
    place = 0
    for entry in chosen:
        for name in SPLIT_NAMES:
            if name in entry["splits"] and split in (None, name):
                shards = tuple((folder / shard["file"], shard["examples"]) for shard in entry["splits"][name]["shards"])
                group = Group(entry["task"], entry["dataset"], name, entry["source"], place, shards)
                place += group.examples
                if group.examples:
                    groups.append(group)
    if not groups:
        raise UsageError(f"{folder} holds no example of what was asked for")
    return groups


def read_example(groups: Sequence[Group], place: int) -> tuple[Group, dict[str, Any]]:
    """The example at a place, and its group.

    Raises:
        IndexError: there is no such place.
        DataError: the shard is missing or damaged.
    """
    if not 0 <= place < groups[-1].first + groups[-1].examples:
        raise IndexError(place)
    group = groups[bisect_right(groups, place, key=lambda one: one.first) - 1]
    row = place - group.first
    for file, number in group.shards:
        if row < number:
            found = _table(file).slice(row, 1).to_pylist()
            if not found:
                raise damaged(file)
            return group, found[0]
        row -= number
    raise IndexError(place)


def find_places(groups: Sequence[Group], wanted: Filter, start: int) -> Iterator[tuple[int, list[int]]]:
    """Places of the examples that a filter leaves, batch by batch.

    Args:
        groups: all groups of the folder.
        wanted: the filter.
        start: examples to pass over, of those of the task, dataset and split asked for.

    Yields:
        How many of those examples have been looked at (those passed over included), and the places found since.
    """
    seen = 0
    for group in groups:
        if not wanted.takes(group):
            continue
        if seen + group.examples <= start:
            seen += group.examples
            continue
        place = group.first
        for file, number in group.shards:
            skip = min(max(start - seen, 0), number)
            if skip < number:
                for first, length, rows in _matching(file, wanted.text, skip):
                    yield seen + first + length, [place + row for row in rows]
            seen, place = seen + number, place + number


_BATCH = 256


def _matching(file: Path, text: str, skip: int) -> Iterator[tuple[int, int, list[int]]]:
    """Batches of a shard from a row on: first row, length, and the rows whose conversation or id holds a text."""
    table = _table(file)
    for first in range(skip, len(table), _BATCH):
        piece = table.slice(first, _BATCH)
        rows = range(first, first + len(piece))
        if not text:
            yield first, len(piece), list(rows)
            continue
        found = np.asarray(pc.match_substring(piece["id"], text, ignore_case=True)).copy()
        turns = piece["conversations"].combine_chunks()
        said = pc.match_substring(turns.flatten().field("value"), text, ignore_case=True)
        found[np.asarray(pc.list_parent_indices(turns))[np.asarray(said)]] = True
        yield first, len(piece), [first + row for row in np.flatnonzero(found).tolist()]


@lru_cache(maxsize=64)
def _table(file: Path) -> pa.Table:
    with open_shard(file) as shard:
        return shard.read_all()
