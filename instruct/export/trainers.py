"""Exports for other trainers: JSON files of examples, the images they name, and what a trainer wants beside them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from instruct.errors import UsageError
from instruct.export import rows
from instruct.export.folder import ExportFolder
from instruct.export.groups import Group
from instruct.export.pictures import EXPLANATIONS, ImageFiles, Left, Pictures, fault_of
from instruct.export.rows import Row

_BUFFER = 1 << 20


@dataclass(frozen=True)
class Trainer:
    """How a trainer takes examples.

    Attributes:
        convert: an example as an object, and what was changed or is lost.
        whole: whether it takes all examples of a split in one file, or a file for each "[Task] [Dataset]".
        lines: whether a file holds an object in each line, or one list.
        alternating: whether it drops an example, or fails on one, whose turns do not alternate.
        absolute: whether it looks for images by absolute paths only.
    """

    convert: Callable[[Row], rows.Object]
    whole: bool
    lines: bool
    alternating: bool
    absolute: bool


TRAINERS = {
    ("llava", None): Trainer(rows.llava, whole=True, lines=False, alternating=True, absolute=False),
    ("llamafactory", "sharegpt"): Trainer(rows.sharegpt, whole=False, lines=True, alternating=True, absolute=False),
    ("llamafactory", "openai"): Trainer(rows.openai, whole=False, lines=True, alternating=True, absolute=False),
    ("ms-swift", None): Trainer(rows.swift, whole=False, lines=True, alternating=False, absolute=True),
    ("axolotl", None): Trainer(rows.axolotl, whole=True, lines=True, alternating=False, absolute=True),
}


@dataclass
class Tally:
    """What became of the examples of a group.

    Attributes:
        exported: examples written.
        left_out: examples that are not, by reason.
        notes: examples that were changed on the way, or lose something, by what it is.
    """

    exported: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)


def write_trainer(
    trainer: Trainer, groups: Sequence[Group], pictures: Pictures, dialect: str, folder: ExportFolder
) -> tuple[dict[str, list[Group]], dict[Group, Tally], ImageFiles]:
    """Write the files of examples and their images. Memory does not grow with the build.

    Args:
        trainer: how the trainer takes them.
        groups: what to export.
        pictures: the images.
        dialect: how regions are printed.
        folder: the export.

    Returns:
        Each file that holds an example, with its groups; what became of the examples; the images.
    """
    images = ImageFiles(pictures, folder.path, trainer.absolute)
    suffix = "jsonl" if trainer.lines else "json"
    files: dict[str, list[Group]] = {}
    for group in groups:
        name = f"{group.split_name}.{suffix}" if trainer.whole else f"{group.split_name}/{group.config}.{suffix}"
        files.setdefault(name, []).append(group)
    tallies = {group: Tally() for group in groups}
    for name, held in list(files.items()):
        readers = {group: _Reader(group, trainer, images, dialect) for group in held}
        with folder.file(name) as file:
            buffer = bytearray(b"" if trainer.lines else b"[\n")
            first = True
            for line in _objects(readers, tallies, complete_first=trainer.lines):
                buffer += (b"" if trainer.lines or first else b",\n") + line + (b"\n" if trainer.lines else b"")
                first = False
                if len(buffer) > _BUFFER:
                    file.write(buffer)
                    buffer = bytearray()
            file.write(buffer + (b"" if trainer.lines else b"\n]\n"))
        if first:
            (folder.path / name).unlink()
            del folder.files[name], files[name]
    return files, tallies, images


class _Reader:
    """The examples of a group as objects."""

    def __init__(self, group: Group, trainer: Trainer, images: ImageFiles, dialect: str) -> None:
        self._group, self._trainer, self._images = group, trainer, images
        self.pictured = group.has("images")
        self.grounded = group.has("regions")
        self._dialect = dialect if self.grounded else ""
        self._columns = ["id", "conversations", "keys", "images"] + (["regions"] if self.grounded else [])

    def __iter__(self) -> Iterator[tuple[dict[str, Any], list[str]] | Left]:
        for batch in self._group.batches(self._columns):
            for found in batch.to_pylist():
                yield self._object(found)

    def _object(self, found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]] | Left:
        row = Row(
            id=f"{self._group.config}/{found['id']}",
            label=self._group.name,
            turns=[(turn["from"], turn["value"]) for turn in found["conversations"]],
            images=[],
            regions=found.get("regions") or (),
            dialect=self._dialect,
        )
        if self._trainer.alternating and not row.alternates:
            return Left.TURNS
        paths: list[str] = []
        for image, key in zip(found["images"], found["keys"]["images"], strict=True):
            path = self._images.path(image, key)
            if isinstance(path, Left):
                return path
            paths.append(path)
        return self._trainer.convert(replace(row, images=paths))


def _objects(readers: Mapping[Group, _Reader], tallies: Mapping[Group, Tally], complete_first: bool) -> Iterator[bytes]:
    """The objects of a file as JSON.

    With ``complete_first``, the first one has images and boxes if any has: `datasets` takes the types of all lines from
    the first ones. What stands before it is converted twice, and nothing is held.
    """
    first = _find_complete(readers) if complete_first else None
    if first is not None:
        yield orjson.dumps(first[2])
    for group, reader in readers.items():
        tally = tallies[group]
        for number, item in enumerate(reader):
            if isinstance(item, Left):
                tally.left_out[item] += 1
                continue
            tally.exported += 1
            tally.notes.update(item[1])
            if first is None or (group, number) != first[:2]:
                yield orjson.dumps(item[0])


def _find_complete(readers: Mapping[Group, _Reader]) -> tuple[Group, int, dict[str, Any]] | None:
    """The first object that has images, and boxes, if any has; None where it is the first one anyway, or none is."""
    pictured = any(reader.pictured for reader in readers.values())
    for group, reader in readers.items():
        if reader.pictured == pictured:
            for number, item in enumerate(reader):
                if not isinstance(item, Left) and ("objects" not in item[0] or item[0]["objects"]["bbox"]):
                    return group, number, item[0]
    return None


def dataset_info(files: Mapping[str, Sequence[Group]], form: str) -> dict[str, Any]:
    """LLaMA-Factory's ``dataset_info.json``: a dataset for each file.

    Args:
        files: file below the export to its group.
        form: sharegpt or openai.
    """
    return {_dataset(group): _entry(name, form, group.has("images")) for name, (group,) in files.items()}


def shards_info(groups: Sequence[Group], pictures: Pictures) -> dict[str, Any]:
    """The same over the build's own shards, which LLaMA-Factory reads as they are.

    Raises:
        UsageError: the shards hold images in a way that only this package reads, or some that no trainer can show.
    """
    if pictures.store == "pack":
        raise UsageError(
            "the images are packed, and LLaMA-Factory does not find them there: use --form sharegpt, which writes them"
            " as files, or build with images.store=embed"
        )
    if pictures.store == "reference":
        _check_files(groups, pictures)
    return {
        _dataset(group): _entry(str(group.shards[0][0].parent.absolute()), "sharegpt", group.has("images"))
        for group in groups
    }


def _check_files(groups: Sequence[Group], pictures: Pictures) -> None:
    faults: Counter[str] = Counter()
    example = ""
    for group in groups:
        for batch in group.batches(["images", "keys"]):
            for row in batch.to_pylist():
                for image, key in zip(row["images"], row["keys"]["images"], strict=True):
                    path = pictures.published(image, key)
                    if path != image["path"]:
                        raise UsageError(
                            "the shards hold relative image paths, which LLaMA-Factory does not find: use"
                            " --form sharegpt, or build with images.paths=absolute"
                        )
                    if fault := fault_of(path):
                        faults[fault] += 1
                        example = example or path
    if faults:
        told = "; ".join(f"{number:,} times: {EXPLANATIONS[Left(name)]}" for name, number in sorted(faults.items()))
        raise UsageError(f"{told} (first: {example}). --form sharegpt leaves these examples out")


def _dataset(group: Group) -> str:
    return f"{group.config}_{group.split_name}"


def _entry(name: str, form: str, images: bool) -> dict[str, Any]:
    columns = {"messages": "messages" if form == "openai" else "conversations"} | (
        {"images": "images"} if images else {}
    )
    tags = {
        "role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
        "system_tag": "system",
    }  # fmt: skip
    entry: dict[str, Any] = {"file_name": name, "formatting": "sharegpt", "columns": columns}
    return entry | ({"tags": tags} if form == "openai" else {})


def to_json(value: Any) -> str:
    """A description as a file."""
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
