"""Plan: from a recipe to jobs, and what of them is built, reused or dropped, and why. Nothing is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from instruct.build.compile import CompiledTask, Slice, compile_task
from instruct.build.corrections import Corrections, find_corrections
from instruct.build.facts import changes, dialect_of, task_facts
from instruct.build.image_stage import ImageStage, dry_stage
from instruct.build.job import Job, ShardResult
from instruct.build.lint import bare_queries, lint_task, lint_template
from instruct.build.output import OutputFolder
from instruct.build.selection import Selection, select
from instruct.build.tables import SourceTables
from instruct.errors import SpecError
from instruct.prompts.source import find_template
from instruct.prompts.template import CompiledTemplate, compile_template
from instruct.specs.recipe import Recipe
from instruct.specs.task_spec import TaskEntry


@dataclass(frozen=True)
class PlannedJob:
    """A job, and the finished shard that makes running it needless, where there is one."""

    job: Job
    found: tuple[ShardResult, Path] | None


@dataclass(frozen=True)
class PlannedTask:
    """What is to be done for a task.

    Attributes:
        entry: the task.
        facts: everything that decides the task's shards, by name.
        compiled: its records.
        jobs: one per shard, in order, without their records, which only running them needs.
        dropped: shards of the earlier build that the new one has no use for.
        reasons: why shards are built or dropped; empty where all are reused.
    """

    entry: TaskEntry
    facts: dict[str, Any]
    compiled: CompiledTask
    jobs: list[PlannedJob]
    dropped: int
    reasons: list[str]

    @property
    def to_build(self) -> int:
        """Number of shards to build."""
        return sum(planned.found is None for planned in self.jobs)


def dry_run(
    recipe: Recipe, out: Path, data_root: Path | None = None, spec_folders: Sequence[Path] = ()
) -> list[dict[str, Any]]:
    """What a build would do, task by task, without changing the output folder.

    Returns:
        Per task its name, records by split, numbers of shards to build, reuse and drop, and the reasons.

    Raises:
        UserError: as :func:`instruct.build.build.build`.
    """
    output = OutputFolder(out)
    output.check(recipe.name)
    selection = select(recipe, data_root, spec_folders)
    with TemporaryDirectory(prefix="cxr-instruct-plan-") as scratch:
        output.scratch = Path(scratch)
        stage, images = dry_stage(selection, output)
        planned = plan_tasks(selection, output, stage)
        tasks = [summary(item) for item in planned if isinstance(item, PlannedTask)]
        return images + tasks + removed_tasks(selection, output)


def summary(task: PlannedTask) -> dict[str, Any]:
    """A planned task as plain data."""
    return {
        "task": task.entry.name,
        "records": dict(task.compiled.records),
        "build": task.to_build,
        "reuse": len(task.jobs) - task.to_build,
        "drop": task.dropped,
        "reasons": task.reasons,
    }


def removed_tasks(selection: Selection, output: OutputFolder) -> list[dict[str, Any]]:
    """Tasks of the earlier build that the new one has no shards of, as :func:`summary` gives them."""
    absent = selection.absent
    planned = {entry.config for entry in selection.entries if entry.config not in absent}
    rows = []
    for task in output.manifest.get("tasks", ()):
        shards = sum(len(split["shards"]) for split in task["splits"].values())
        if shards and task["config"] not in planned:
            lacking = absent.get(task["config"])
            reason = f"not on disk: {', '.join(lacking)}" if lacking else "no longer in the recipe"
            rows.append(
                {"task": task["name"], "records": {}, "build": 0, "reuse": 0, "drop": shards, "reasons": [reason]}
            )
    return rows


def plan_tasks(
    selection: Selection, output: OutputFolder, stage: ImageStage, in_memory: bool = False
) -> Iterator[PlannedJob | PlannedTask]:
    """Compile and plan the tasks of every spec, one at a time; a source's tables are read once.

    Args:
        selection: what to plan.
        output: the output folder; records are written into its work folder.
        stage: where the images are, and what is wrong with them.
        in_memory: let records wait for their jobs in memory instead.

    Yields:
        The jobs of a task, as soon as each is planned, and after them the task.

    Raises:
        SpecError, DataError: see :func:`instruct.build.compile.compile_task`.
    """
    templates: dict[str, CompiledTemplate] = {}
    problems = []
    for name, entry in {entry.task.template: entry for entry in reversed(selection.entries)}.items():
        try:
            found = compile_template(find_template(name, selection.template_folders))
            templates[name] = compile_template(found.source, dialect_of(found, selection.recipe))
        except SpecError as error:
            problems += [f"{problem} (wanted at {entry.place('template')})" for problem in error.problems]
    present = [entry for entry in selection.entries if entry.config not in selection.absent]
    for name in dict.fromkeys(entry.task.template for entry in present if entry.task.template in templates):
        problems += lint_template(templates[name])
    with bare_queries(present) as empty:
        for entry in present:
            problems += lint_task(entry, empty, templates.get(entry.task.template))
    if problems:
        raise SpecError(problems)
    sources = SourceTables(selection, output.scratch)
    corrected = find_corrections(selection, sources)
    for _, group in groupby(present, key=lambda entry: entry.file.path):
        yield from _plan_spec(selection, list(group), templates, stage, sources, corrected, output, in_memory)


def _plan_spec(
    selection: Selection,
    entries: list[TaskEntry],
    templates: Mapping[str, CompiledTemplate],
    stage: ImageStage,
    sources: SourceTables,
    corrected: Corrections,
    output: OutputFolder,
    in_memory: bool,
) -> Iterator[PlannedJob | PlannedTask]:
    recipe = selection.recipe
    later = [entry.spec for entry in selection.entries[selection.entries.index(entries[-1]) + 1 :]]
    with sources.queries(entries[0].spec, corrected.tables) as queries:
        for entry in entries:
            template = templates[entry.task.template]
            file = None if in_memory else output.records_file(entry.config)
            facts = task_facts(entry, sources, template, recipe) | {"moved": corrected.moved.get(entry.config, {})}
            compiled = CompiledTask()
            slices = compile_task(entry, queries, template, recipe, stage.folders, file, compiled)
            yield from _plan_task(entry, template, compiled, slices, facts, recipe, stage, output)
    shown = {held for spec in later for held in (spec.source, spec.namespace, *spec.reads)}
    for name, folder in stage.folders.items():
        if name not in shown:
            folder.forget()
    sources.keep_only({held for spec in later for held in (spec.source, *spec.reads)})


def _plan_task(
    entry: TaskEntry,
    template: CompiledTemplate,
    compiled: CompiledTask,
    slices: Iterator[Slice],
    facts: dict[str, Any],
    recipe: Recipe,
    stage: ImageStage,
    output: OutputFolder,
) -> Iterator[PlannedJob | PlannedTask]:
    images = recipe.images
    by_path = images.store == "reference" and images.paths == "absolute"
    roots = {name: str(folder.root) for name, folder in stage.folders.items()} if by_path else {}
    jobs = []
    for piece in slices:
        tables = stage.tables(piece.namespaces) if images.store == "embed" else {}
        job = Job(
            config=entry.config,
            split=piece.split,
            task=entry.task.task,
            dataset=entry.spec.dataset,
            namespace=entry.namespace,
            records=piece.records,
            batch=piece.batch,
            rows=piece.rows,
            records_digest=piece.digest,
            template=template.source,
            variants=recipe.variants,
            image_roots={name: roots[name] for name in sorted(piece.namespaces) if name in roots},
            dialect=dialect_of(template, recipe),
            spec_digest=facts["spec"],
            seed=recipe.seed,
            store=images.store,
            tables=tables,
            tables_digest=stage.digest(piece.namespaces) if tables else "",
        )
        planned = PlannedJob(job, output.find(job.key))
        jobs.append(replace(planned, job=replace(job, records="")))
        yield planned
    before = next((task for task in output.manifest.get("tasks", ()) if task["config"] == entry.config), None)
    old_keys = {shard["key"] for split in before["splits"].values() for shard in split["shards"]} if before else set()
    dropped = len(old_keys - {planned.job.key for planned in jobs})
    changed = dropped or any(planned.found is None for planned in jobs)
    yield PlannedTask(entry, facts, compiled, jobs, dropped, changes(before, facts) if changed else [])
