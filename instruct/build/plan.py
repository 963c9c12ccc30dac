"""Plan: from a recipe to jobs, and what of them is built, reused or dropped, and why. Nothing is rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
from pydantic import ValidationError

from instruct.build.compile import CompiledTask, compile_task
from instruct.build.job import Job, ShardResult, code_digest
from instruct.build.lint import bare_queries, lint_task
from instruct.build.output import OutputFolder
from instruct.build.roots import find_root
from instruct.digest import digest_code, digest_file, digest_json
from instruct.errors import DataError, SpecError, UsageError
from instruct.images.folder import ImageFolder
from instruct.prompts.template import CompiledTemplate, compile_template, find_template
from instruct.sources import Options, Source, get_source
from instruct.specs.recipe import Recipe
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskEntry, load_task_specs


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
        jobs: one per shard, in order.
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


@dataclass(frozen=True)
class Selection:
    """What a recipe selects: its tasks, and where their sources are.

    Attributes:
        recipe: the recipe.
        entries: every selected task, of absent sources too, in spec order.
        roots: source name to folder, for the sources that are on disk.
        template_folders: folders looked in for templates before the shipped ones.
    """

    recipe: Recipe
    entries: list[TaskEntry]
    roots: dict[str, Path]
    template_folders: list[Path] = field(default_factory=list)

    @property
    def absent(self) -> dict[str, list[str]]:
        """Tasks that cannot be built: configuration to the sources it lacks on disk."""
        lacking = {
            entry.config: [name for name in (entry.spec.source, *entry.spec.reads) if name not in self.roots]
            for entry in self.entries
        }
        return {config: names for config, names in lacking.items() if names}


def select(recipe: Recipe, data_root: Path | None, spec_folders: Sequence[Path] = ()) -> Selection:
    """Choose the recipe's tasks and find their sources.

    Raises:
        SpecError: a spec is invalid.
        UsageError: the recipe names a task or source that does not exist, or a reader's option it does not have.
        DataError: none of the sources is on disk.
    """
    entries = [entry for entry in load_task_specs(spec_folders) if entry.spec.source in recipe.sources]
    for name, choice in recipe.sources.items():
        _options(get_source(name), choice.options)
        if not any(entry.spec.source == name for entry in entries):
            raise UsageError(f"no task spec is about source {name!r}; add one with --specs")
    if recipe.tasks != "all":
        known = {label: entry for entry in entries for label in (entry.name, entry.config)}
        unknown = [name for name in recipe.tasks if name not in known]
        if unknown:
            raise UsageError(
                f"the recipe's sources have no task {', '.join(unknown)}; they have: {', '.join(sorted(known))}"
            )
        chosen = {known[name].config for name in recipe.tasks}
        entries = [entry for entry in entries if entry.config in chosen]
    needed = {name for entry in entries for name in (entry.spec.source, entry.namespace, *entry.spec.reads)}
    roots = {}
    for name in sorted(needed):
        given = recipe.sources[name].root if name in recipe.sources else None
        root = find_root(get_source(name), data_root, given)
        if root is not None:
            roots[name] = root
    selection = Selection(recipe, entries, roots, template_folders(spec_folders))
    if len(selection.absent) == len(entries):
        tried = "; ".join(f"{name}: {', '.join(get_source(name).folders)}" for name in sorted(needed - set(roots)))
        where = f"below --data-root {data_root}" if data_root is not None else "on disk; give --data-root"
        raise DataError(f"none of the recipe's tasks has its sources {where} (folders looked for: {tried})")
    return selection


def template_folders(spec_folders: Sequence[Path]) -> list[Path]:
    """Where templates of a user's spec folders lie: in their ``templates/``, or beside the specs."""
    return [path for folder in spec_folders for path in (folder / "templates", folder) if path.is_dir()]


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
        return [summary(task) for task in plan_tasks(selection, output)] + removed_tasks(selection, output)


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


def plan_tasks(selection: Selection, output: OutputFolder, threads: int = 1) -> Iterator[PlannedTask]:
    """Compile and plan the tasks of every spec, one at a time; a source's tables are read once.

    Args:
        selection: what to plan.
        output: the output folder; records are written into its work folder.
        threads: images decoded at a time, where the recipe wants them decoded.

    Raises:
        SpecError, DataError: see :func:`instruct.build.compile.compile_task`.
    """
    templates = {}
    for entry in selection.entries:
        if entry.task.template not in templates:
            templates[entry.task.template] = compile_template(
                find_template(entry.task.template, selection.template_folders), selection.recipe.dialect
            )
    folders = image_folders(selection, threads)
    sources = _Sources(selection)
    absent = selection.absent
    for _, group in groupby(selection.entries, key=lambda entry: entry.file.path):
        entries = [entry for entry in group if entry.config not in absent]
        if entries:
            yield from _plan_spec(selection, entries, templates, folders, sources, output)


class _Sources:
    """The sources of a plan, each read once and forgotten after its last use."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._read: dict[str, tuple[dict[str, pa.Table], dict[str, str]]] = {}

    def options(self, name: str) -> Options:
        choice = self._selection.recipe.sources.get(name)
        return _options(get_source(name), choice.options if choice else {})

    def get(self, name: str) -> tuple[dict[str, pa.Table], dict[str, str]]:
        """Tables of a source, and the digest of each of its files."""
        if name not in self._read:
            source = get_source(name)
            files = source.find(self._selection.roots[name])
            inputs = {files.relative(path): digest_file(path) for path in files.all()}
            self._read[name] = source.tables_of(files, self.options(name)), inputs
        return self._read[name]

    def keep_only(self, names: set[str]) -> None:
        """Forget every other source."""
        self._read = {name: read for name, read in self._read.items() if name in names}


def image_folders(selection: Selection, threads: int = 1) -> dict[str, ImageFolder]:
    """The image folders of the sources on disk."""
    return {
        name: ImageFolder(get_source(name).image_folder(root), selection.recipe.images.check == "decode", threads)
        for name, root in selection.roots.items()
    }


def _plan_spec(
    selection: Selection,
    entries: list[TaskEntry],
    templates: Mapping[str, CompiledTemplate],
    folders: Mapping[str, ImageFolder],
    sources: _Sources,
    output: OutputFolder,
) -> Iterator[PlannedTask]:
    recipe = selection.recipe
    with bare_queries(entries[0]) as empty:
        problems = [problem for entry in entries for problem in lint_task(entry, empty, templates[entry.task.template])]
    if problems:
        raise SpecError(problems)
    name, reads = entries[0].spec.source, entries[0].spec.reads
    later = [entry.spec for entry in selection.entries[selection.entries.index(entries[-1]) + 1 :]]
    tables = {held: sources.get(held)[0] for held in (name, *reads)}
    with RecordQueries(
        get_source(name),
        tables,
        reads=[get_source(held) for held in reads],
        seed=recipe.seed,
        mentions_change=recipe.mentions_change,
    ) as queries:
        for entry in entries:
            template = templates[entry.task.template]
            file = output.records_file(entry.config)
            file.parent.mkdir(parents=True, exist_ok=True)
            compiled = compile_task(entry, queries, template, recipe, folders, file)
            yield _plan_task(
                entry, template, compiled, _facts(entry, sources, template, recipe), recipe, folders, file, output
            )
    del tables
    sources.keep_only({held for spec in later for held in (spec.source, *spec.reads)})


def _plan_task(
    entry: TaskEntry,
    template: CompiledTemplate,
    compiled: CompiledTask,
    facts: dict[str, Any],
    recipe: Recipe,
    folders: Mapping[str, ImageFolder],
    file: Path,
    output: OutputFolder,
) -> PlannedTask:
    roots = {name: str(folder.root) for name, folder in folders.items()} if recipe.images.paths == "absolute" else {}
    jobs = []
    for piece in compiled.slices:
        job = Job(
            config=entry.config,
            split=piece.split,
            task=entry.task.task,
            dataset=entry.spec.dataset,
            namespace=entry.namespace,
            records=str(file),
            batch=piece.batch,
            rows=piece.rows,
            records_digest=piece.digest,
            template=template.source,
            variants=recipe.variants,
            image_roots={name: roots[name] for name in sorted(compiled.namespaces) if name in roots},
            dialect=recipe.dialect,
            spec_digest=facts["spec"],
            seed=recipe.seed,
        )
        jobs.append(PlannedJob(job, output.find(job.key)))
    before = next((task for task in output.manifest.get("tasks", ()) if task["config"] == entry.config), None)
    old_keys = {shard["key"] for split in before["splits"].values() for shard in split["shards"]} if before else set()
    dropped = len(old_keys - {planned.job.key for planned in jobs})
    changed = dropped or any(planned.found is None for planned in jobs)
    return PlannedTask(entry, facts, compiled, jobs, dropped, _reasons(before, facts) if changed else [])


def _options(source: Source, given: Mapping[str, Any]) -> Options:
    try:
        return source.options.model_validate(dict(given))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        known = ", ".join(source.options.model_fields) or "none"
        raise UsageError(f"sources.{source.name}.options: {faults} (options of this source: {known})") from None


def _facts(entry: TaskEntry, sources: _Sources, template: CompiledTemplate, recipe: Recipe) -> dict[str, Any]:
    names = [entry.spec.source, *entry.spec.reads]
    spec = {
        "task": entry.task.task,
        "dataset": entry.spec.dataset,
        "namespace": entry.namespace,
        "records": entry.task.records,
        "template": entry.task.template,
    }
    return {
        "inputs": {f"{name}/{file}": digest for name in names for file, digest in sources.get(name)[1].items()},
        "reader": digest_json([digest_code(get_source(name).modules) for name in names]),
        "options": {
            f"{name}.{option}": value
            for name in names
            for option, value in sources.options(name).model_dump(mode="json").items()
        },
        "spec": digest_json(spec),
        "template_files": {name: digest_json(text) for name, text in template.source.texts},
        "settings": {
            "seed": recipe.seed,
            "variants": recipe.variants,
            "images": recipe.images.model_dump(mode="json"),
            "dialect": recipe.dialect,
            "mentions_change": recipe.mentions_change,
            "shard_rows": recipe.shard_rows,
        },
        "code": code_digest(),
    }


def _reasons(before: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> list[str]:
    """Why a task's shards are not those of the last build."""
    if before is None:
        return ["not built yet"]
    old = before["facts"]
    reasons = []
    for kind, label in (("inputs", "input file"), ("template_files", "template file")):
        names = sorted(name for name in {*old[kind], *facts[kind]} if old[kind].get(name) != facts[kind].get(name))
        reasons += [f"{label} {name} changed" for name in names]
    for kind, label in (("options", "option"), ("settings", "setting")):
        names = sorted(name for name in {*old[kind], *facts[kind]} if old[kind].get(name) != facts[kind].get(name))
        reasons += [f"{label} {name} changed" for name in names]
    for kind, reason in (
        ("spec", "the task changed in its spec"),
        ("reader", "the reader changed"),
        ("code", "the rendering code or its libraries changed"),
    ):
        if old[kind] != facts[kind]:
            reasons.append(reason)
    return reasons or ["shards are missing or damaged, or images on disk changed"]
