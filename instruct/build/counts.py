"""Counts, taken from the keys that were written: examples are sums, images and studies exact distinct counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    rows: dict[str, dict[str, Count]] = {}
    everything: dict[str, dict[str, list[pa.Array]]] = {split: {"images": [], "studies": []} for split in SPLITS}
    examples = dict.fromkeys(SPLITS, 0)
    for task in tasks:
        rows[task["name"]] = {}
        for split in SPLITS:
            shards = task["splits"].get(split, {}).get("shards", ())
            records = 0
            keys: dict[str, list[pa.Array]] = {"images": [], "studies": []}
            for shard in shards:
                held = _keys(folder / shard["file"])
                records += _runs(pc.struct_field(held, "record"))
                for kind, found in keys.items():
                    found += [pc.unique(chunk.flatten()) for chunk in pc.struct_field(held, kind).chunks]
            distinct = {kind: _union(found) for kind, found in keys.items()}
            rows[task["name"]][split] = Count(records, len(distinct["images"]), len(distinct["studies"]))
            examples[split] += records
            for kind, values in distinct.items():
                everything[split][kind].append(values)
    total: dict[str, Count] = {
        split: Count(
            examples[split], len(_union(everything[split]["images"])), len(_union(everything[split]["studies"]))
        )
        for split in SPLITS
    }
    return Counts(rows, total)


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
