"""The output folder: its names, what an earlier build left in it, and how a shard is found again by its key.

::

    OUT/README.md, counts.md, counts.csv, counts.json, quarantine.jsonl, build.log.jsonl
    OUT/manifest.json                                     written last: without it, a build is not finished
    OUT/<config>/<split>/arrow/data-00000-of-00003.arrow  shards; state.json and dataset_info.json beside arrow/
    OUT/images/<source>/arrow/data-00000-of-00003.arrow   images tables, where rows refer to them
    OUT/.build/                                           lock, records, staged shards, results by key, pieces
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from instruct.build.files import read_json, remove_unfinished, write_json
from instruct.build.job import ShardResult
from instruct.digest import digest_file
from instruct.errors import UsageError

# The name of a split on disk and in `datasets`, where the count table says val.
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}

MANIFEST = "manifest.json"
# What a build writes about itself, which other commands may write anew.
REPORTS = ("README.md", "counts.md", "counts.csv", "counts.json", "quarantine.jsonl")
# Folder of the images tables: below the output folder where rows refer to them, below its work folder otherwise.
IMAGES = "images"
FORMAT = 1


class OutputFolder:
    """An output folder.

    Args:
        path: the folder; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.work = self.path / ".build"
        self.scratch = self.work / "records"
        self.lock = self.work / "lock"
        self.log = self.path / "build.log.jsonl"
        held = read_json(self.path / MANIFEST)
        self.manifest: dict[str, Any] = held if _is_manifest(held) else {}
        self._placed = {key: self.path / file for key, file in (read_json(self.work / "placed.json") or {}).items()}

    def check(self, name: str) -> None:
        """Make sure that a build of this name may be written into the folder; nothing is changed.

        Raises:
            UsageError: it holds another build, or files that are no build, or is a file.
        """
        started = read_json(self.work / "name.json")
        owner = self.manifest.get("name", started)
        if owner is not None and owner != name:
            raise UsageError(
                f"{self.path}: holds the build {owner!r}; this recipe is named {name!r}."
                " Choose another --out, or remove the folder"
            )
        if self.manifest and self.manifest.get("format") != FORMAT:
            raise UsageError(
                f"{self.path}: was written in format {self.manifest.get('format')};"
                f" this release writes {FORMAT}. Remove it"
            )
        if owner is None and self.path.exists():
            if not self.path.is_dir():
                raise UsageError(f"{self.path}: cannot be an output folder: it is a file; choose another --out")
            others = sorted(path.name for path in self.path.iterdir() if path.name != ".build")
            if others:
                raise UsageError(f"{self.path}: is not empty ({others[0]}) and holds no build; choose another --out")

    def claim(self, name: str) -> None:
        """Make the folder one of a build of this name, and remove what killed builds left half-written.

        Raises:
            UsageError: see :meth:`check`.
        """
        self.check(name)
        remove_unfinished(self.path)
        write_json(self.work / "name.json", name)

    def records_file(self, config: str) -> Path:
        """Work file of a task's records."""
        return self.scratch / f"{config}.arrow"

    def staged(self, key: str) -> Path:
        """Where the shard of a key waits to be published."""
        return self.work / "shards" / f"{key}.arrow"

    def result_file(self, key: str) -> Path:
        """What is known of the shard of a key."""
        return self.work / "results" / f"{key}.json"

    def shard_file(self, config: str, split: str, number: int, total: int) -> Path:
        """Where a shard is published."""
        return self.path / config / SPLIT_NAMES[split] / "arrow" / f"data-{number:05d}-of-{total:05d}.arrow"

    def empty_file(self, key: str) -> Path:
        """Where a shard of a split without examples is kept for the next build."""
        return self.work / "empty" / f"{key}.arrow"

    def images_file(self, source: str, number: int, total: int, shown: bool) -> Path:
        """Where a shard of an images table is published, or kept for the next build."""
        folder = self.path if shown else self.work
        return folder / IMAGES / source / "arrow" / f"data-{number:05d}-of-{total:05d}.arrow"

    def keep(self, result: ShardResult) -> None:
        """Remember a finished shard; what a loss of power leaves of this is read as nothing (see :meth:`find`)."""
        write_json(self.result_file(result.key), asdict(result), sync=False)

    def place(self, files: Mapping[str, Path]) -> None:
        """Remember where the shard of each key is being published."""
        write_json(
            self.work / "placed.json", {key: file.relative_to(self.path).as_posix() for key, file in files.items()}
        )

    def find(self, key: str, verify: bool = True) -> tuple[ShardResult, Path] | None:
        """The finished shard of a key; None where there is none, or it is damaged.

        Args:
            key: the key.
            verify: whether to read it and compare its digest, and not its size alone.
        """
        known = read_json(self.result_file(key))
        if known is None:
            return None
        try:
            result = ShardResult(**known)
        except TypeError:
            return None
        for file in (self.staged(key), self._placed.get(key)):
            if file is not None and _is(file, result, verify):
                return result, file
        return None


def _is_manifest(held: Any) -> bool:
    return (
        isinstance(held, dict)
        and {"name", "recipe", "sources", "tasks"} <= set(held)
        and isinstance(held["tasks"], list)
        and all(isinstance(task, dict) and isinstance(task.get("splits"), dict) for task in held["tasks"])
    )


def _is(file: Path, result: ShardResult, verify: bool) -> bool:
    try:
        return file.stat().st_size == result.bytes and (not verify or digest_file(file) == result.sha256)
    except OSError:
        return False
