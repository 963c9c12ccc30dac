"""Read single examples of a dataset folder, for people to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from instruct.build.verify import read_manifest
from instruct.errors import UsageError
from instruct.shard import open_shard


def find_examples(
    folder: Path, *, task: str | None = None, split: str | None = None, identifier: str | None = None, number: int = 1
) -> list[dict[str, Any]]:
    """The first examples of every task and split, or those of an id, as plain data with their split.

    Args:
        folder: the dataset folder.
        task: ``[Task] [Dataset]`` or a configuration; None takes every task.
        split: train, val or test; None takes every split.
        identifier: id of an example or a record; None takes the first ones.
        number: examples per task and split.

    Raises:
        UsageError: there is no such task, or no such example.
    """
    manifest = read_manifest(folder)
    names = [name for entry in manifest["tasks"] for name in (entry["name"], entry["config"])]
    if task is not None and task not in names:
        raise UsageError(
            f"{folder} has no task {task!r}; it has: {', '.join(entry['name'] for entry in manifest['tasks'])}"
        )
    found: list[dict[str, Any]] = []
    for entry in manifest["tasks"]:
        if task not in (None, entry["name"], entry["config"]):
            continue
        for name, held in entry["splits"].items():
            if split in (None, name):
                rows = _take([folder / shard["file"] for shard in held["shards"]], identifier, number)
                found += [{"split": name, **row} for row in rows]
    if identifier is not None and not found:
        raise UsageError(f"{folder} has no example with the id {identifier!r} in what was asked for")
    return found


def _take(files: list[Path], identifier: str | None, number: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for file in files:
        with open_shard(file) as shard:
            table = shard.read_all()
            if identifier is not None:
                record = pc.struct_field(table["keys"], "record")
                table = table.filter(pc.or_(pc.equal(table["id"], identifier), pc.equal(record, identifier)))
            rows += table.slice(0, number - len(rows)).to_pylist()
        if len(rows) >= number:
            break
    return rows
