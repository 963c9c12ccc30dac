"""What of a build is exported: its tasks and splits, and their examples batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from instruct.build.output import SPLIT_NAMES
from instruct.errors import UsageError
from instruct.shard import open_shard


@dataclass(frozen=True)
class Group:
    """The examples of one "[Task] [Dataset]" in one split.

    Attributes:
        config: the configuration's folder in the build.
        name: ``[Task] [Dataset]``.
        split: train, val or test.
        shards: file and size in bytes of each shard.
        examples: number of examples.
    """

    config: str
    name: str
    split: str
    shards: tuple[tuple[Path, int], ...]
    examples: int

    @property
    def split_name(self) -> str:
        """The split as ``datasets`` calls it."""
        return SPLIT_NAMES[self.split]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Some columns of the examples, in order, as views of the memory-mapped shards.

        Raises:
            DataError: a shard is missing or not the one that the build wrote.
        """
        for file, size in self.shards:
            with open_shard(file, size) as shard:
                for batch in shard:
                    yield batch.select(columns)

    def has(self, column: str) -> bool:
        """Whether a column of lists holds anything at all."""
        return any(pc.max(pc.list_value_length(batch.column(0))).as_py() for batch in self.batches([column]))


def choose(folder: Path, manifest: Mapping[str, Any], tasks: Sequence[str], splits: Sequence[str]) -> list[Group]:
    """The groups asked for that have examples, in the order of the count table, then train, val, test.

    Args:
        folder: the dataset folder.
        manifest: its manifest.
        tasks: ``[Task] [Dataset]`` or configurations; none takes all.
        splits: train, val (or validation), test; none takes all.

    Raises:
        UsageError: there is no such task or split, or no example of what was asked for.
    """
    known = {name for task in manifest["tasks"] for name in (task["name"], task["config"])}
    if unknown := sorted(set(tasks) - known):
        there = ", ".join(task["name"] for task in manifest["tasks"])
        raise UsageError(f"{folder} has no task {', '.join(unknown)}; it has: {there}")
    wanted = {"val" if split == "validation" else split for split in splits} or set(SPLIT_NAMES)
    if unknown := sorted(wanted - set(SPLIT_NAMES)):
        raise UsageError(f"there is no split {', '.join(unknown)}; expected train, val or test")
    groups = [
        Group(
            config=task["config"],
            name=task["name"],
            split=split,
            shards=tuple((folder / shard["file"], shard["bytes"]) for shard in task["splits"][split]["shards"]),
            examples=sum(shard["examples"] for shard in task["splits"][split]["shards"]),
        )
        for task in manifest["tasks"]
        for split in SPLIT_NAMES
        if split in wanted and split in task["splits"] and (not tasks or {task["name"], task["config"]} & set(tasks))
    ]
    groups = [group for group in groups if group.examples]
    if not groups:
        raise UsageError(f"{folder} has no example of what was asked for")
    return groups


def narrowed(manifest: Mapping[str, Any], groups: Sequence[Group]) -> dict[str, Any]:
    """A manifest as if the build held these groups alone."""
    held = {(group.config, group.split) for group in groups}
    tasks = [
        task | {"splits": {name: split for name, split in task["splits"].items() if (task["config"], name) in held}}
        for task in manifest["tasks"]
    ]
    return dict(manifest) | {"tasks": [task for task in tasks if task["splits"]]}
