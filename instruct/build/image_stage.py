"""The image stage of a build: before any record is worded, every image that a task shows is stored once.

What cannot be stored is known then, and the sizes of what can, so that records without it are left out and regions
follow their image. With ``images.store: reference`` there is nothing to do.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass, field
from itertools import count, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from instruct.build.execute import Executor
from instruct.build.image_table import ImageTable, cut
from instruct.build.job import ShardResult
from instruct.build.output import OutputFolder
from instruct.build.selection import Selection, image_folders
from instruct.build.share import LackingShardsError, Share
from instruct.build.tables import SourceTables
from instruct.digest import digest_json
from instruct.images.folder import ImageFolder
from instruct.images.geometry import Geometry
from instruct.prompts.source import find_template
from instruct.prompts.template import compile_template
from instruct.reasons import Reason
from instruct.sources import get_source
from instruct.specs.recipe import Recipe

if TYPE_CHECKING:  # what decodes images is imported only where some are stored
    from instruct.build.image_job import ImageJob
    from instruct.images.store import ImagePolicy

Finished = tuple[ShardResult, Path]


class StoredFolder(ImageFolder):
    """A source's images as they are stored: what is wrong with each is known.

    Args:
        root: the folder of the published images.
        shards: the shards of the images table.
    """

    def __init__(self, root: Path, shards: list[Finished]) -> None:
        super().__init__(root)
        self.table = ImageTable([file for _, file in shards])
        self._bad = {row["id"]: Reason(row["reason"]) for result, _ in shards for row in result.bad}

    def geometry(self, path: str) -> Geometry:
        """From the published image to the stored one; KeyError where it is not stored."""
        return self.table.geometry(path)

    def all_missing(self, paths: pa.StringArray) -> bool:
        """No: they are stored, whether the published ones are still there or not."""
        return False

    def _fault(self, path: str) -> Reason | None:
        if path in self._bad:
            return self._bad[path]
        return None if path in self.table else super()._fault(path) or Reason.MISSING_IMAGE


@dataclass
class ImageStage:
    """What the image stage gave.

    Attributes:
        folders: namespace to the folder of its images, of the sources on disk.
        shards: source to the shards of its images table; empty where images are referred to.
        built: shards made now.
        bad: images that cannot be stored: source, path, reason, detail.
    """

    folders: Mapping[str, ImageFolder]
    shards: dict[str, list[Finished]] = field(default_factory=dict)
    built: int = 0

    @property
    def bad(self) -> list[dict[str, str]]:
        """Images that could not be stored."""
        return [
            {"source": source, "image": row["id"], "reason": row["reason"], "detail": row["detail"]}
            for source, shards in self.shards.items()
            for result, _ in shards
            for row in result.bad
        ]

    @property
    def keys(self) -> set[str]:
        """Keys of the shards."""
        return {result.key for shards in self.shards.values() for result, _ in shards}

    def tables(self, sources: Set[str]) -> dict[str, tuple[str, ...]]:
        """The files of the images tables of some sources."""
        return {name: tuple(str(file) for _, file in self.shards[name]) for name in sources & set(self.shards)}

    def digest(self, sources: Set[str]) -> str:
        """Digest of the images tables of some sources."""
        return digest_json(
            {name: [result.sha256 for result, _ in self.shards[name]] for name in sources & set(self.shards)}
        )


def policy_of(recipe: Recipe) -> ImagePolicy:
    """How a recipe stores images."""
    from instruct.images.store import ImagePolicy

    images = recipe.images
    return ImagePolicy(images.fit, images.size, images.encoding, images.backend, images.links == "follow")


def plan_images(selection: Selection, output: OutputFolder) -> dict[str, list[tuple[ImageJob, Finished | None]]]:
    """The images that the selection's tasks show, as jobs by source, each with its finished shard where there is one.

    Images that are not on disk are in no job.

    Raises:
        SpecError: a query does not bind.
        DataError: a source is malformed.
        UsageError: the backend's libraries are not installed.
    """
    from instruct.build.image_job import ImageJob
    from instruct.images.backend import backend

    policy = policy_of(selection.recipe)
    backend(policy.backend)
    planned: dict[str, list[tuple[ImageJob, Finished | None]]] = {}
    for name, paths in sorted(_shown(selection, output.scratch).items()):
        root = get_source(name).image_folder(selection.roots[name])
        folder = ImageFolder(root)
        wanted = sorted(paths)
        wanted = [path for path, fault in zip(wanted, folder.faults(wanted), strict=True) if fault is None]
        planned[name] = []
        for number, some in enumerate(cut(wanted)):
            job = ImageJob(name, number, str(root), tuple(some), tuple(_stamps(root, some)), policy)
            planned[name].append((job, output.find(job.key)))
    return planned


def run_stage(
    selection: Selection, output: OutputFolder, executor: Executor, share: Share, tell: Callable[..., None]
) -> ImageStage:
    """Store every image that is shown and is not stored yet.

    Args:
        selection: what is built.
        output: the output folder.
        executor: runs the jobs.
        share: which jobs are run here.
        tell: told of every step.

    Raises:
        LackingShardsError: others have not stored their share yet.
        UserError: as :func:`plan_images`, and what running the jobs raises.
    """
    if selection.recipe.images.store == "reference":
        return ImageStage(image_folders(selection, executor.workers))
    from instruct.build.image_job import run_images

    planned = plan_images(selection, output)
    position = count()
    ours = {name: [pair for pair in some if share.takes(next(position))] for name, some in planned.items()}
    for row in stage_summary({name: some for name, some in ours.items() if some}):
        tell("planned", **row)
    jobs = [(job, output.staged(job.key)) for some in ours.values() for job, found in some if found is None]
    made: dict[str, Finished] = {}
    for result in executor.run(jobs, run_images, tell):
        output.keep(result)
        made[result.key] = (result, output.staged(result.key))
        tell("shard", key=result.key, examples=result.examples, bytes=result.bytes)
    every = [pair for some in planned.values() for pair in some]
    lacking = [job.label for job, found in every if found is None and job.key not in made]
    if lacking:
        raise LackingShardsError(lacking, len(every))
    shards = {
        name: [found if found is not None else made[job.key] for job, found in some] for name, some in planned.items()
    }
    stage = ImageStage(_folders(selection, shards), shards, len(made))
    for name, some in shards.items():
        reasons = Counter(row["reason"] for result, _ in some for row in result.bad)
        tell("images", source=name, stored=sum(result.records for result, _ in some), bad=dict(sorted(reasons.items())))
    return stage


def dry_stage(selection: Selection, output: OutputFolder) -> tuple[ImageStage, list[dict[str, Any]]]:
    """The stage as far as it is known without storing anything, and what storing would do, as plain data.

    Where images have still to be stored, the plan of the tasks takes all of them for good.
    """
    if selection.recipe.images.store == "reference":
        return ImageStage(image_folders(selection)), []
    planned = plan_images(selection, output)
    shards = {
        name: [found for _, found in some if found is not None]
        for name, some in planned.items()
        if all(found is not None for _, found in some)
    }
    return ImageStage(_folders(selection, shards), shards), stage_summary(planned)


def stage_summary(planned: Mapping[str, list[tuple[ImageJob, Finished | None]]]) -> list[dict[str, Any]]:
    """What is to be done for the images of each source, in the form of :func:`instruct.build.plan.summary`."""
    rows = []
    for name, some in planned.items():
        build = sum(found is None for _, found in some)
        rows.append(
            {
                "task": f"images of {name}",
                "records": {"images": sum(len(job.paths) for job, _ in some)},
                "build": build,
                "reuse": len(some) - build,
                "drop": 0,
                "reasons": ["images on disk, or the way they are stored, are new or changed"] if build else [],
            }
        )
    return rows


def stage_facts(selection: Selection, stage: ImageStage, published: Mapping[str, Any]) -> dict[str, Any]:
    """What the manifest says of stored images.

    Args:
        selection: what is built.
        stage: its image stage.
        published: source to the published shards.
    """
    from instruct.images.backend import backend

    policy = policy_of(selection.recipe)
    bad = {name: Counter[str]() for name in stage.shards}
    for row in stage.bad:
        bad[row["source"]][row["reason"]] += 1
    return {
        "store": selection.recipe.images.store,
        "policy": asdict(policy),
        "backend": dict(backend(policy.backend).versions),
        "sources": {
            name: {
                "images": sum(result.records for result, _ in shards),
                "bad": dict(sorted(bad[name].items())),
                "shards": published.get(name, []),
            }
            for name, shards in stage.shards.items()
        },
    }


def _folders(selection: Selection, shards: Mapping[str, list[Finished]]) -> dict[str, ImageFolder]:
    folders = image_folders(selection)
    return folders | {name: StoredFolder(folders[name].root, some) for name, some in shards.items()}


def _shown(selection: Selection, scratch: Path) -> dict[str, set[str]]:
    """Every image that a task shows: source on disk to paths."""
    shown: dict[str, set[str]] = {}
    sources = SourceTables(selection, scratch)
    absent = selection.absent
    entries = [entry for entry in selection.entries if entry.config not in absent]
    for _, group in groupby(entries, key=lambda entry: entry.file.path):
        held = list(group)
        wanted = [
            entry
            for entry in held
            if compile_template(find_template(entry.task.template, selection.template_folders)).declarations.images
            != "none"
        ]
        if not wanted:
            continue
        with sources.queries(wanted[0].spec) as queries:
            for entry in wanted:
                for namespace, path in queries.images(entry):
                    if namespace in selection.roots:
                        shown.setdefault(namespace, set()).add(path)
        sources.keep_only(set())
    return shown


def _stamps(root: Path, paths: list[str]) -> Iterator[tuple[int, int]]:
    for path in paths:
        try:
            stat = os.stat(f"{root}/{path}")  # noqa: PTH116 - a Path per image would cost twice as much as all the rest
        except OSError:  # gone since it was looked for
            yield 0, 0
        else:
            yield stat.st_size, stat.st_mtime_ns
