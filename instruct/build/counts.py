"""Counts, taken from the keys that were written: examples are sums, images and studies exact distinct counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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


def count_shards(folder: Path, tasks: Iterable[Mapping[str, Any]]) -> Counts:
    """Count what the shards of a build hold.

    Args:
        folder: the output folder.
        tasks: the manifest's tasks, each with its name and the shards of its splits.
    """
    tasks = list(tasks)
    asked = [
        [folder / shard["file"] for shard in task["splits"].get(split, {}).get("shards", ())]
        for task in tasks
        for split in SPLITS
    ]
    with ThreadPoolExecutor() as pool:
        found = pool.map(_held, asked)
        held = {task["name"]: {split: next(found) for split in SPLITS} for task in tasks}
    return Counts(
        rows={name: {split: keys.count() for split, keys in splits.items()} for name, splits in held.items()},
        total={split: _together([splits[split] for splits in held.values()]).count() for split in SPLITS},
    )


@dataclass(frozen=True)
class _Held:
    """What some shards hold: how many records, and the distinct keys of their images and studies."""

    records: int
    images: pa.Array
    studies: pa.Array

    def count(self) -> Count:
        return Count(self.records, len(self.images), len(self.studies))


def _held(shards: list[Path]) -> _Held:
    """What the shards of one split of a task hold."""
    records = 0
    images: list[pa.Array] = []
    studies: list[pa.Array] = []
    for file in shards:
        keys = _keys(file)
        records += _runs(pc.struct_field(keys, "record"))
        for kind, distinct in (("images", images), ("studies", studies)):
            distinct += [pc.unique(chunk.flatten()) for chunk in pc.struct_field(keys, kind).chunks]
    return _Held(records, _union(images), _union(studies))


def _together(parts: list[_Held]) -> _Held:
    return _Held(
        sum(part.records for part in parts),
        _union([part.images for part in parts]),
        _union([part.studies for part in parts]),
    )


def _runs(records: pa.ChunkedArray) -> int:
    """Number of records: the variants of one record stand next to each other."""
    changes = pc.sum(pc.not_equal(records[1:], records[:-1])).as_py() or 0
    return changes + bool(len(records))


def _keys(file: Path) -> pa.ChunkedArray:
    """The keys of a shard's examples; nothing else of it is read."""
    with pa.memory_map(str(file)) as source:
        return pa.ipc.open_stream(source).read_all()["keys"]


def _union(parts: list[pa.Array]) -> pa.Array:
    return pc.unique(pa.chunked_array(parts, pa.string()))
