"""Counts, taken from the keys that were written: examples are sums, images and studies exact distinct counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instruct.audit.overlaps import KeyIndex
from instruct.audit.shards import groups_of
from instruct.specs.task_spec import SPLITS


@dataclass(frozen=True)
class Count:
    """One split of one row of the count table.

    Attributes:
        examples: records worded; several variants of one record count once.
        images: distinct images.
        studies: distinct studies.
    """

    examples: int = 0
    images: int = 0
    studies: int = 0


@dataclass(frozen=True)
class Counts:
    """The count table's numbers.

    Attributes:
        rows: ``[Task] [Dataset]`` to split to count, in table order.
        total: split to count over all rows: examples add up, images and studies are those of the union.
    """

    rows: dict[str, dict[str, Count]]
    total: dict[str, Count] = field(default_factory=dict)


def count_shards(folder: Path, tasks: Sequence[Mapping[str, Any]]) -> Counts:
    """Count what the shards of a build hold.

    Args:
        folder: the output folder.
        tasks: the manifest's tasks, each with its name and the shards of its splits.
    """
    with KeyIndex(groups_of(folder, tasks)) as index:
        return counts_of(tasks, index)


def counts_of(tasks: Iterable[Mapping[str, Any]], index: KeyIndex) -> Counts:
    """Load an index of the keys of a build's tasks, and count them on the way."""
    held = index.load()
    counts = {row: Count(found.records, found.images, found.studies) for row, found in held.items()}
    splits: tuple[str, ...] = SPLITS
    rows = {task["name"]: {split: counts.get((task["name"], split), Count()) for split in splits} for task in tasks}
    total = {
        split: Count(
            sum(row[split].examples for row in rows.values()), index.union("image", split), index.union("study", split)
        )
        for split in splits
    }
    return Counts(rows, total)
