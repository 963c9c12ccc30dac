"""Pieces: one process makes its share of a build's shards and publishes nothing; a later one gathers and publishes.

Shards are named by their content's address. So a piece needs to know nothing of the others, may write into the same
folder as they do or into one of its own, and may be run again at any time: what is there is not made twice.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from instruct.build.execute import Executor
from instruct.build.files import locked, read_json, write_json, writing
from instruct.build.image_stage import run_stage
from instruct.build.job import Job, ShardResult
from instruct.build.output import OutputFolder
from instruct.build.plan import PlannedJob, PlannedTask, plan_tasks, summary
from instruct.build.run_job import run
from instruct.build.selection import Selection, select
from instruct.build.share import LackingShardsError, Share
from instruct.build.tell import Listener, Tell, telling
from instruct.errors import UsageError
from instruct.specs.recipe import Recipe


@dataclass(frozen=True)
class PieceResult:
    """What a piece did.

    Attributes:
        built: shards made now.
        reused: shards of the piece that were there already.
        lacking_images: shards of images that other pieces have not made yet; as long as there are some, no rows are.
    """

    built: int
    reused: int
    lacking_images: int = 0


class PieceFolder(OutputFolder):
    """An output folder that several processes write pieces into at the same time.

    Args:
        path: the folder.
        share: the piece.
        scratch: folder for records.
    """

    def __init__(self, path: Path, share: Share, scratch: Path) -> None:
        super().__init__(path)
        self.scratch = scratch
        name = self.work / "pieces" / f"{share.number}-of-{share.total}"
        self.log = name.with_suffix(".jsonl")
        self.own_lock = name.with_suffix(".lock")

    def claim(self, name: str) -> None:
        """As for a build; what others are writing stays."""
        self.check(name)
        write_json(self.work / "name.json", name)

    def find(self, key: str, verify: bool = False) -> tuple[ShardResult, Path] | None:
        """By size alone, so that no piece reads the shards of all; it verifies those of its share as it takes them."""
        return super().find(key, verify)


def build_piece(
    recipe: Recipe,
    out: Path,
    share: Share,
    executor: Executor,
    *,
    data_root: Path | None = None,
    spec_folders: Sequence[Path] = (),
    listener: Listener | None = None,
) -> PieceResult:
    """Plan a build and make one share of its shards in the folder's work folder. Nothing is published.

    Args:
        recipe: the recipe.
        out: the output folder, of this piece alone or of all.
        share: which shards to make.
        executor: runs the jobs.
        data_root: folder below which the sources lie.
        spec_folders: folders with more task specs and templates.
        listener: told of every step.

    Raises:
        UserError: as :func:`instruct.build.build.build`; that too many records are bad is left to the build.
    """
    selection = select(recipe, data_root, spec_folders)
    OutputFolder(out).check(recipe.name)
    with TemporaryDirectory(prefix="cxr-instruct-piece-") as scratch:
        output = PieceFolder(out, share, Path(scratch))
        with locked(output.lock, shared=True), locked(output.own_lock, f"piece {share}"):
            output.claim(recipe.name)
            tell = telling(output.log, listener)
            tell("start", out=str(output.path), **selection.start_event)
            return _run(selection, output, share, executor, tell)


def _run(selection: Selection, output: PieceFolder, share: Share, executor: Executor, tell: Tell) -> PieceResult:
    built = reused = lacking = 0

    def count_and_tell(event: str, **facts: Any) -> None:
        nonlocal built, reused
        built += event == "shard"
        reused += facts.get("reuse", 0)
        tell(event, **facts)

    def jobs() -> Iterator[tuple[Job, Path]]:
        position = count()
        ours: list[PlannedJob] = []
        for item in plan_tasks(selection, output, stage):
            if isinstance(item, PlannedTask):
                count_and_tell("planned", **summary(replace(item, jobs=ours, dropped=0)))
                ours = []
            elif share.takes(next(position)):
                if item.found is not None:
                    item = replace(item, found=output.find(item.job.key, verify=True))
                ours.append(item)
                if item.found is None:
                    yield item.job, output.staged(item.job.key)

    try:
        stage = run_stage(selection, output, executor, share, count_and_tell)
    except LackingShardsError as error:
        lacking = len(error.lacking)
    else:
        for result in executor.run(jobs(), run, count_and_tell):
            output.keep(result)
            count_and_tell("shard", key=result.key, examples=result.examples, bytes=result.bytes)
    tell("done", built=built, reused=reused, lacking_images=lacking)
    return PieceResult(built, reused, lacking)


def adopt(output: OutputFolder, pieces: Sequence[Path], tell: Tell) -> None:
    """Take the finished shards of pieces that were made in folders of their own.

    Args:
        output: the output folder; nobody else writes into it.
        pieces: folders of pieces; they stay as they are.
        tell: told how many shards each gave.

    Raises:
        UsageError: a folder holds no piece, or one of another build.
        DataError: a shard cannot be copied.
    """
    name = read_json(output.work / "name.json")
    for folder in pieces:
        piece = OutputFolder(folder)
        held = read_json(piece.work / "name.json")
        if held != name:
            what = "no piece of a build" if held is None else f"a piece of the build {held!r}, not of {name!r}"
            raise UsageError(f"{folder}: holds {what}")
        taken = 0
        for file in sorted((piece.work / "results").glob("*.json")):
            found = piece.find(file.stem, verify=False)  # the plan verifies what it uses
            if found is not None and output.find(file.stem) is None:  # of damaged ones, the next piece may be whole
                _copy(found[1], output.staged(file.stem))
                output.keep(found[0])
                taken += 1
        tell("taken", piece=str(folder), shards=taken)


def _copy(file: Path, target: Path) -> None:
    """Copy a file that nobody changes; on one file system both names share it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:
        with file.open("rb") as source, writing(target) as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
