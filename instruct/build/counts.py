"""Counts, taken from the keys that were written: examples are sums, images and studies exact distinct counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from instruct.specs.task_spec import SPLITS

# Tasks whose shards are read at the same time.
_AT_ONCE = 4
_FEW_KEYS = 1 << 16


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
    rows: dict[str, dict[str, Count]] = {task["name"]: {} for task in tasks}
    total: dict[str, Count] = {}
    with ThreadPoolExecutor() as pool:
        for split in SPLITS:
            records, images, studies = 0, _Distinct(), _Distinct()
            for start in range(0, len(tasks), _AT_ONCE):
                some = tasks[start : start + _AT_ONCE]
                asked = [[folder / shard["file"] for shard in _shards(task, split)] for task in some]
                for task, held in zip(some, pool.map(_held, asked), strict=True):
                    rows[task["name"]][split] = Count(held.records, len(held.images), len(held.studies))
                    records += held.records
                    images.add(held.images)
                    studies.add(held.studies)
            total[split] = Count(records, len(images.keys()), len(studies.keys()))
    return Counts(rows, total)


def _shards(task: Mapping[str, Any], split: str) -> Sequence[Mapping[str, Any]]:
    shards: Sequence[Mapping[str, Any]] = task["splits"].get(split, {}).get("shards", ())
    return shards


@dataclass(frozen=True)
class _Held:
    """What some shards hold: how many records, and the distinct keys of their images and studies."""

    records: int
    images: pa.Array
    studies: pa.Array


class _Distinct:
    """Distinct keys of many arrays, of which only those not seen before are kept."""

    def __init__(self) -> None:
        self._keys = pa.array([], pa.string())
        self._waiting: list[pa.Array] = []
        self._rows = 0

    def add(self, keys: pa.Array) -> None:
        self._waiting.append(keys)
        self._rows += len(keys)
        # As many as there are already, so that no key is looked at again and again.
        if self._rows > max(len(self._keys), _FEW_KEYS):
            self._merge()

    def keys(self) -> pa.Array:
        """The keys so far."""
        self._merge()
        return self._keys

    def _merge(self) -> None:
        self._keys, self._waiting, self._rows = _union([self._keys, *self._waiting]), [], 0


def _held(shards: list[Path]) -> _Held:
    """What the shards of one split of a task hold."""
    records = 0
    images, studies = _Distinct(), _Distinct()
    for file in shards:
        keys = _keys(file)
        records += _runs(pc.struct_field(keys, "record"))
        for kind, distinct in (("images", images), ("studies", studies)):
            for chunk in pc.struct_field(keys, kind).chunks:
                distinct.add(pc.unique(chunk.flatten()))
    return _Held(records, images.keys(), studies.keys())


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
