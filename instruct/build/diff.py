"""What two builds differ in: task by task, by reason, with ids. Shards that are equal are not read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from instruct.build.diff_rows import Difference, Rows, Shard
from instruct.build.facts import changes
from instruct.build.verify import read_manifest
from instruct.shard import damaged

_Task = Mapping[str, Any] | None


@dataclass
class TaskDiff:
    """What differs in one task.

    Attributes:
        name: ``[Task] [Dataset]``.
        causes: what of that which decides the shards changed: spec, template, input files, settings, code.
        before: examples of the one build.
        after: examples of the other.
        differences: of the examples.
        quarantine: of the records left out.
    """

    name: str
    causes: list[str] = field(default_factory=list)
    before: int = 0
    after: int = 0
    differences: list[Difference] = field(default_factory=list)
    quarantine: list[Difference] = field(default_factory=list)

    @property
    def differs(self) -> bool:
        """Whether anything does."""
        return bool(self.causes or self.differences or self.quarantine or self.before != self.after)


@dataclass
class BuildDiff:
    """What differs between two builds.

    Attributes:
        recipe: recipe keys with the value before and after.
        tasks: tasks that differ.
        images: source to what differs in its images table.
        read: shards read, of all.
    """

    recipe: dict[str, tuple[Any, Any]]
    tasks: list[TaskDiff]
    images: dict[str, list[Difference]]
    read: tuple[int, int]

    @property
    def same(self) -> bool:
        """Whether both builds hold the same examples and images, made in the same way."""
        return not (self.recipe or self.tasks or self.images)


def diff(before: Path, after: Path) -> BuildDiff:
    """Compare two dataset folders.

    Shards of one digest are taken for equal without being read, if they have the size that the manifest tells;
    ``cxr-instruct verify`` says whether they are what it tells. Examples are matched by record, and by variant where a
    record has several.

    Args:
        before: one folder.
        after: the other.

    Raises:
        UsageError: a folder holds no finished build.
        DataError: a shard is missing or damaged.
    """
    manifests = read_manifest(before), read_manifest(after)
    recipes = [_flat(manifest["recipe"]) for manifest in manifests]
    keys = sorted({*recipes[0], *recipes[1]})
    told = {key: (recipes[0].get(key), recipes[1].get(key)) for key in keys}
    rows = Rows((before, after), any(manifest["recipe"]["variants"] != 1 for manifest in manifests))
    read = [0, 0]
    tasks = [{task["config"]: task for task in manifest["tasks"]} for manifest in manifests]
    for folder, manifest in zip((before, after), manifests, strict=True):
        _refuse_damaged(folder, manifest)
    found = [
        _task(rows, [side.get(config) for side in tasks], read) for config in dict.fromkeys([*tasks[0], *tasks[1]])
    ]
    tables = [_tables(manifest) for manifest in manifests]
    images = {
        source: _images(rows, [side.get(source, []) for side in tables], read) for source in {**tables[0], **tables[1]}
    }
    return BuildDiff(
        recipe={key: values for key, values in told.items() if values[0] != values[1]},
        tasks=[task for task in found if task.differs],
        images={source: differences for source, differences in sorted(images.items()) if differences},
        read=(read[0], read[1]),
    )


def _refuse_damaged(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Refuse a folder whose shards are not there, or of another size: what is equal is not read."""
    shards = [shard for task in manifest["tasks"] for _, shard in _shards(task)]
    shards += [shard for held in _tables(manifest).values() for _, shard in held]
    for shard in shards:
        file = folder / shard["file"]
        if not file.is_file() or file.stat().st_size != shard["bytes"]:
            raise damaged(file)


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        return {place: value}
    return {
        key: held for name, inner in value.items() for key, held in _flat(inner, f"{place}.{name}".strip(".")).items()
    }


def _task(rows: Rows, sides: Sequence[_Task], read: list[int]) -> TaskDiff:
    """What differs in a task, of which a build may have nothing."""
    name = next(side["name"] for side in sides if side is not None)
    shards = [_shards(side) for side in sides]
    differing = _differing(shards, read)
    return TaskDiff(
        name,
        causes=_causes(*sides),
        before=sum(shard["examples"] for _, shard in shards[0]),
        after=sum(shard["examples"] for _, shard in shards[1]),
        differences=rows.examples(name, differing) if any(differing) else [],
        quarantine=rows.quarantine(name),
    )


def _causes(before: _Task, after: _Task) -> list[str]:
    facts = [side["facts"] if side else None for side in (before, after)]
    if facts[0] is not None and facts[1] is not None:
        return changes(before, facts[1]) if facts[0] != facts[1] else []
    states = [_state(side) for side in (before, after)]
    return [f"{states[0]} before, {states[1]} after"] if states[0] != states[1] else []


def _state(task: _Task) -> str:
    if task is None:
        return "not in the recipe"
    return f"not on disk ({', '.join(task['absent'])})" if task.get("absent") else "built"


def _shards(task: _Task) -> list[Shard]:
    return [(name, shard) for name, split in (task["splits"] if task else {}).items() for shard in split["shards"]]


def _tables(manifest: Mapping[str, Any]) -> dict[str, list[Shard]]:
    sources = manifest.get("images", {"sources": {}})["sources"]
    return {name: [("", shard) for shard in held["shards"]] for name, held in sources.items() if held["shards"]}


def _images(rows: Rows, shards: Sequence[Sequence[Shard]], read: list[int]) -> list[Difference]:
    differing = _differing(shards, read)
    return rows.images(differing) if any(differing) else []


def _differing(sides: Sequence[Sequence[Shard]], read: list[int]) -> list[list[Shard]]:
    """Shards of each side that the other does not have in the same split; counts them, and all of them."""
    digests = [Counter((split, shard["sha256"]) for split, shard in side) for side in sides]
    left: list[list[Shard]] = []
    for side, other in zip(sides, reversed(digests), strict=True):
        rest = Counter(other)
        left.append([])
        for split, shard in side:
            if rest[split, shard["sha256"]]:
                rest[split, shard["sha256"]] -= 1
            else:
                left[-1].append((split, shard))
    read[0] += sum(map(len, left))
    read[1] += sum(map(len, sides))
    return left
