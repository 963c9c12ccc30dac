"""What the audit reads of a dataset folder: its rows, dataset by dataset and split by split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from instruct.shard import open_shard
from instruct.specs.task_spec import SPLITS

# Kinds of keys, the most telling last: who shares an image shares its study and its patient.
KINDS = ("patient", "study", "image")
_KEYS = pa.schema([("kind", pa.uint8()), ("row", pa.uint16()), ("key", pa.string())])


@dataclass(frozen=True)
class Group:
    """The examples of one dataset in one split, whatever their tasks.

    Attributes:
        dataset: name of the dataset, as in the count table.
        source: source whose files its records were read from.
        split: train, val or test.
        rows: the shards of each of its rows of the count table, by the row's name.
    """

    dataset: str
    source: str
    split: str
    rows: Mapping[str, Sequence[Path]]

    def __str__(self) -> str:
        return f"{self.dataset} {self.split}"

    @property
    def files(self) -> list[Path]:
        """All its shards."""
        return [file for files in self.rows.values() for file in files]

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
    found: dict[tuple[str, str, str], dict[str, list[Path]]] = {}
    for task in tasks:
        for split in SPLITS:
            if shards := task["splits"].get(split, {}).get("shards", ()):
                rows = found.setdefault((task["dataset"], task["source"], split), {})
                rows.setdefault(task["name"], []).extend(folder / shard["file"] for shard in shards)
    return [Group(*names, rows) for names, rows in found.items()]


def read(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Some columns of a shard, batch by batch; nothing is copied."""
    with open_shard(file) as shard:
        for batch in shard:
            yield batch.select(columns)


def keys_of(group: Group) -> dict[str, list[pa.ChunkedArray]]:
    """The keys of a group's examples, shard by shard of each row; nothing else of these is read."""
    return {row: [_keys(file) for file in files] for row, files in group.rows.items()}


def every_key(keys: Mapping[str, Sequence[pa.ChunkedArray]]) -> pa.Table:
    """The keys of a group (see :func:`keys_of`) one by one, as often as they stand there; no text is copied.

    Returns:
        Columns ``kind`` (place in :data:`KINDS`), ``row`` (place of the row in ``keys``) and ``key``; keys of
        patients may be null.
    """
    tables = [_KEYS.empty_table()]
    for row, shards in enumerate(keys.values()):
        for shard in shards:
            patients, studies, images = (pc.struct_field(shard, name) for name in ("patient", "studies", "images"))
            for kind, texts in enumerate((patients, pc.list_flatten(studies), pc.list_flatten(images))):
                constants = (
                    pa.repeat(pa.scalar(value, column.type), len(texts))
                    for value, column in zip((kind, row), _KEYS, strict=False)
                )
                tables.append(pa.table([*constants, texts], schema=_KEYS))
    return pa.concat_tables(tables)


def count_records(shards: Iterable[pa.ChunkedArray]) -> int:
    """Number of records of which some shards hold the keys: the variants of one record stand next to each other."""
    count = 0
    for keys in shards:
        records = pc.struct_field(keys, "record")
        count += (pc.sum(pc.not_equal(records[1:], records[:-1])).as_py() or 0) + bool(len(records))
    return count


def keys_of_images(files: Iterable[Path], images: pa.Array) -> pa.Table:
    """Study and patient that shards give some images, where an example has one image and one study.

    Returns:
        Columns ``original`` (the image), ``kind`` (place in :data:`KINDS`) and ``key``.
    """
    schema = pa.schema([("original", pa.string()), ("kind", pa.uint8()), ("key", pa.string())])
    tables = [schema.empty_table()]
    for keys in map(_keys, files):
        shown, studies, patient = (pc.struct_field(keys, name) for name in ("images", "studies", "patient"))
        single = pc.and_(pc.equal(pc.list_value_length(shown), 1), pc.equal(pc.list_value_length(studies), 1))
        shown, studies, patient = (part.filter(single) for part in (shown, studies, patient))
        wanted = pc.is_in(pc.list_flatten(shown), value_set=images)
        original = pc.list_flatten(shown).filter(wanted)
        for kind, owner in (("study", pc.list_flatten(studies)), ("patient", patient)):
            number = pa.repeat(pa.scalar(KINDS.index(kind), pa.uint8()), len(original))
            table = pa.table([original, number, owner.filter(wanted)], schema=schema)
            tables.append(table.filter(pc.is_valid(table["key"])))
    return pa.concat_tables(tables)


def _keys(file: Path) -> pa.ChunkedArray:
    """The keys of a shard's examples; nothing else of it is read."""
    with open_shard(file) as shard:
        return shard.read_all()["keys"]
