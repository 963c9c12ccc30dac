"""What the audit reads of a dataset folder: its rows, dataset by dataset and split by split."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from instruct.specs.task_spec import SPLITS

# Kinds of keys, the most telling last: who shares an image shares its study and its patient.
KINDS = ("patient", "study", "image")


@dataclass(frozen=True)
class Group:
    """The examples of one dataset in one split, whatever their tasks.

    Attributes:
        dataset: name of the dataset, as in the count table.
        source: source whose files its records were read from.
        split: train, val or test.
        files: its shards.
    """

    dataset: str
    source: str
    split: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.dataset} {self.split}"

    @property
    def rank(self) -> int:
        """How well the split is protected: 0 for train, 2 for test. Of two, the lower one has to give way."""
        return SPLITS.index(self.split)


def groups_of(folder: Path, tasks: Sequence[Mapping[str, Any]]) -> list[Group]:
    """The groups of a build, ordered as its tasks, then train, val, test.

    Args:
        folder: the dataset folder.
        tasks: the tasks of its manifest.
    """
    found: dict[tuple[str, str, str], list[Path]] = {}
    for task in tasks:
        for split in SPLITS:
            for shard in task["splits"].get(split, {}).get("shards", ()):
                found.setdefault((task["dataset"], task["source"], split), []).append(folder / shard["file"])
    return [Group(*names, tuple(files)) for names, files in found.items()]


def read(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a shard, batch by batch; nothing is copied."""
    with pa.memory_map(str(file)) as source:
        for batch in pa.ipc.open_stream(source):
            yield batch.select(columns)


def distinct_keys(group: Group) -> dict[str, pa.Array]:
    """The distinct keys of a group: kind of key to keys."""
    found: dict[str, list[pa.Array]] = {kind: [] for kind in KINDS}
    for file in group.files:
        held: dict[str, list[pa.Array]] = {kind: [] for kind in KINDS}
        for batch in read(file, ["keys"]):
            keys = batch.column("keys")
            held["patient"].append(keys.field("patient"))
            held["study"].append(keys.field("studies").flatten())
            held["image"].append(keys.field("images").flatten())
        for kind, parts in held.items():
            found[kind].append(_union(parts))
    return {kind: _union(parts).drop_null() for kind, parts in found.items()}


def _union(parts: Sequence[pa.Array]) -> pa.Array:
    return pc.unique(pa.chunked_array(parts, pa.string()))
