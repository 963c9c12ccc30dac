"""Build: plan, execute, publish. The one way from a recipe to a dataset folder."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import instruct
from instruct.audit.overlaps import KeyIndex
from instruct.audit.shards import groups_of
from instruct.build.audit_gate import audit_build
from instruct.build.counts import Counts, counts_of
from instruct.build.execute import Executor, LocalExecutor
from instruct.build.files import locked, write_json, write_text
from instruct.build.image_stage import run_stage, stage_facts
from instruct.build.job import Job, ShardResult
from instruct.build.output import FORMAT, MANIFEST, OutputFolder
from instruct.build.pieces import adopt
from instruct.build.plan import PlannedTask, plan_tasks, removed_tasks, summary
from instruct.build.publish import Shards, hub_configs, publish_shards
from instruct.build.run_job import run
from instruct.build.selection import Selection, select
from instruct.build.share import LackingShardsError, Share
from instruct.build.tell import Listener, Tell, telling
from instruct.errors import DataError
from instruct.images.folder import ImageFolder
from instruct.memory import share_heap
from instruct.reasons import EXPLANATIONS, Reason
from instruct.sources import get_source
from instruct.specs.recipe import Recipe
from instruct.specs.task_spec import SPLITS
from instruct.specs.terms import told_terms

# Writes the reports of a build into its folder, before the manifest closes it.
Finish = Callable[[Path, dict[str, Any], Counts], None]


@dataclass(frozen=True)
class BuildResult:
    """What a build did.

    Attributes:
        out: the output folder.
        manifest: its manifest.
        counts: its counts.
        built: shards rendered now.
        reused: shards that were there already.
        dropped: shards of the earlier build that are gone.
    """

    out: Path
    manifest: dict[str, Any]
    counts: Counts
    built: int
    reused: int
    dropped: int


def build(
    recipe: Recipe,
    out: Path,
    *,
    data_root: Path | None = None,
    executor: Executor | None = None,
    pieces: Sequence[Path] | None = None,
    spec_folders: Sequence[Path] = (),
    finish: Finish | None = None,
    listener: Listener | None = None,
) -> BuildResult:
    """Build a recipe into a folder, reusing every finished shard of an earlier or interrupted build.

    Args:
        recipe: the recipe.
        out: the output folder.
        data_root: folder below which the sources lie.
        executor: runs the jobs; default: in this process.
        pieces: folders to take finished shards from. Where they are given, if only as an empty list, nothing that
            pieces make is made here.
        spec_folders: folders with more task specs and templates.
        finish: writes reports into the folder.
        listener: told of every step.

    Raises:
        SpecError: a spec, template or query is invalid.
        DataError: a source is malformed, too many records are bad, or the disk is full.
        LackingShardsError: pieces were given, and some shard is in none of them and not in the folder.
        UsageError: the folder holds another build, or another process builds into it.
    """
    selection = select(recipe, data_root, spec_folders)
    if len(selection.roots) > 1:
        share_heap()  # before there are threads
    output = OutputFolder(out)
    output.check(recipe.name)  # before the lock, which would leave a file in a folder that is not ours
    with locked(output.lock):
        output = OutputFolder(out)  # as it is now that no other process writes into it
        output.claim(recipe.name)

        tell = telling(output.log, listener)
        tell("start", out=str(output.path), **selection.start_event)
        if pieces is not None:
            adopt(output, pieces, tell)
        return _run(selection, output, executor or LocalExecutor(), pieces is not None, finish, tell)


def _run(
    selection: Selection, output: OutputFolder, executor: Executor, merging: bool, finish: Finish | None, tell: Tell
) -> BuildResult:
    planned: list[PlannedTask] = []
    results: dict[str, tuple[ShardResult, Path]] = {}
    removed = removed_tasks(selection, output)
    # Pieces make rows over stored images only when they are run a second time; a merge makes what they did not.
    ours = Share(0) if merging else Share()
    stage = run_stage(selection, output, executor, ours, tell)
    rows_are_ours = not merging or selection.recipe.images.store != "reference"
    lacking: list[str] = []
    # The tables of one source alone are in memory too, and larger than the records of a task.
    in_memory = executor.workers == 1 and len(selection.roots) == 1

    def jobs() -> Iterator[tuple[Job, Path]]:
        for item in plan_tasks(selection, output, stage, in_memory):
            if isinstance(item, PlannedTask):
                planned.append(item)
                tell("planned", **summary(item))
            elif item.found is not None:
                results[item.job.key] = item.found
            elif rows_are_ours:
                yield item.job, output.staged(item.job.key)
            else:
                lacking.append(item.job.label)
        for row in removed:
            tell("planned", **row)

    built = 0
    for result in executor.run(jobs(), run, tell):
        output.keep(result)
        results[result.key] = (result, output.staged(result.key))
        built += 1
        tell("shard", key=result.key, examples=result.examples, bytes=result.bytes)

    if lacking:
        raise LackingShardsError(lacking, len(lacking) + len(results))
    bad = {task.entry.config: list(_bad(task, results)) for task in planned}
    _refuse_too_many(selection.recipe, planned, bad, stage.folders)
    tell("publish")
    configs: dict[str, Shards] = {
        task.entry.config: {
            str(split): [results[item.job.key] for item in task.jobs if item.job.split == split]
            for split in SPLITS
            if any(item.job.split == split for item in task.jobs)
        }
        for task in planned
        if task.jobs
    }
    packed = selection.recipe.images.store == "pack"
    published, images = publish_shards(output, configs, stage.shards, packed)
    manifest = _manifest(selection, planned, published, bad)
    if selection.recipe.images.store != "reference":
        manifest["images"] = stage_facts(selection, stage, images if packed else {})
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for rows in bad.values() for row in rows]
    write_text(output.path / "quarantine.jsonl", "".join(line + "\n" for line in lines))
    lost = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in stage.bad]
    if lost:
        write_text(output.path / "quarantine-images.jsonl", "".join(line + "\n" for line in lost))
    else:
        (output.path / "quarantine-images.jsonl").unlink(missing_ok=True)
    with KeyIndex(groups_of(output.path, manifest["tasks"])) as index:
        counts = counts_of(manifest["tasks"], index)
        audit_build(output.path, manifest, index, selection.recipe, tell)
    if finish is not None:
        finish(output.path, manifest, counts)
    write_json(output.path / MANIFEST, manifest)
    _clean(output, set(results) | stage.keys)
    dropped = sum(task.dropped for task in planned) + sum(row["drop"] for row in removed)
    built += stage.built
    reused = len(results) + len(stage.keys) - built
    tell("done", built=built, reused=reused, dropped=dropped, bad=len(lines))
    return BuildResult(output.path, manifest, counts, built, reused, dropped)


def _bad(task: PlannedTask, results: dict[str, tuple[ShardResult, Path]]) -> Iterator[dict[str, str]]:
    """Quarantined records of a task, those without a worded example last."""
    for row in task.compiled.bad:
        yield {"task": task.entry.name, **row}
    for item in task.jobs:
        for row in results[item.job.key][0].bad:
            yield {"task": task.entry.name, "split": item.job.split, **row}


def _refuse_too_many(
    recipe: Recipe,
    planned: list[PlannedTask],
    bad: dict[str, list[dict[str, str]]],
    folders: Mapping[str, ImageFolder],
) -> None:
    problems = []
    for task in planned:
        rows, records = bad[task.entry.config], sum(task.compiled.records.values())
        if rows and len(rows) > recipe.max_bad * records:
            problems.append(
                f"{task.entry.name}: {len(rows):,} of {records:,} records are bad (max_bad: {recipe.max_bad:g})"
            )
            for reason, number in Counter(row["reason"] for row in rows).most_common():
                row = next(row for row in rows if row["reason"] == reason)
                folder = folders.get(task.entry.namespace) if reason == Reason.MISSING_IMAGE else None
                where = f" (looked for below {folder.root})" if folder else ""
                problems.append(
                    f"  {number:,} {reason}: {EXPLANATIONS[Reason(reason)]};"
                    f" first: {row['id']} from {row['origin']}: {row['detail']}{where}"
                )
    if problems:
        problems.append("Mend the data, or allow more with max_bad=SHARE (1 allows all); finished shards are kept.")
        raise DataError("\n".join(problems))


def _manifest(
    selection: Selection,
    planned: list[PlannedTask],
    published: dict[str, dict[str, list[dict[str, Any]]]],
    bad: dict[str, list[dict[str, str]]],
) -> dict[str, Any]:
    by_config = {task.entry.config: task for task in planned}
    tasks = []
    for entry in selection.entries:
        task = by_config.get(entry.config)
        facts: dict[str, Any] = {
            "config": entry.config,
            "name": entry.name,
            "task": entry.task.task,
            "dataset": entry.spec.dataset,
            "source": entry.spec.source,
            "template": entry.task.template,
            "rule": entry.task.rule,
            "differs": entry.task.differs,
            "expect": dict(entry.task.expect),
            "splits": {},
        }
        if task is not None:
            facts |= {
                "facts": task.facts,
                "splits": {
                    split: {"records": task.compiled.records[split], "shards": shards}
                    for split, shards in published.get(entry.config, {}).items()
                },
                "bad": dict(sorted(Counter(row["reason"] for row in bad[entry.config]).items())),
                "missing_images": task.compiled.missing_images,
                "dicom": task.compiled.dicom,
                "dropped_images": dict(sorted(task.compiled.dropped_images.items())),
            }
        else:
            facts |= {"facts": None, "absent": selection.absent[entry.config]}
        tasks.append(facts)
    return {
        "format": FORMAT,
        "name": selection.recipe.name,
        "version": instruct.__version__,
        "recipe": selection.recipe.model_dump(
            mode="json", exclude={"sources": {name: {"root"} for name in selection.recipe.sources}}
        ),
        "roots": {name: str(root) for name, root in selection.roots.items()},
        "image_roots": {name: str(get_source(name).image_folder(root)) for name, root in selection.roots.items()},
        "sources": {
            name: facts | {"present": name in selection.roots}
            for name, facts in told_terms(entry.spec for entry in selection.entries).items()
        },
        "configs": hub_configs(published),
        "tasks": tasks,
    }


def _clean(output: OutputFolder, keys: set[str]) -> None:
    """Remove what only the build needed, and what is known of shards that are gone."""
    shutil.rmtree(output.work / "records", ignore_errors=True)
    shutil.rmtree(output.work / "shards", ignore_errors=True)
    shutil.rmtree(output.work / "pieces", ignore_errors=True)
    for file in (output.work / "results").glob("*.json"):
        if file.stem not in keys:
            file.unlink()
