"""Selection: which tasks a recipe means, and where their sources are on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import instruct
from instruct.build.roots import find_root, missing_from
from instruct.errors import DataError, UsageError
from instruct.images.folder import ImageFolder
from instruct.sources import Options, Source, get_source
from instruct.specs.recipe import Recipe
from instruct.specs.task_spec import TaskEntry, load_task_specs


@dataclass(frozen=True)
class Selection:
    """What a recipe selects: its tasks, and where their sources are.

    Attributes:
        recipe: the recipe.
        entries: every selected task, of absent sources too, in spec order.
        roots: source name to folder, for the sources that are on disk.
        incomplete: what the folders of others lack that are there, without the files by which they are known.
        template_folders: folders looked in for templates before the shipped ones.
    """

    recipe: Recipe
    entries: list[TaskEntry]
    roots: dict[str, Path]
    incomplete: list[str] = field(default_factory=list)
    template_folders: list[Path] = field(default_factory=list)

    @cached_property
    def absent(self) -> dict[str, list[str]]:
        """Tasks that cannot be built: configuration to the sources (or files of them) it lacks."""
        lacking = {entry.config: list(self._lacks(entry)) for entry in self.entries}
        return {config: names for config, names in lacking.items() if names}

    @property
    def start_event(self) -> dict[str, Any]:
        """What the log of a build begins with."""
        return {
            "recipe": self.recipe.name,
            "version": instruct.__version__,
            "absent": sorted({name for names in self.absent.values() for name in names}),
            "incomplete": self.incomplete,
        }

    def _lacks(self, entry: TaskEntry) -> Iterator[str]:
        for name in (entry.spec.source, *entry.spec.reads):
            if name not in self.roots:
                yield name
        if entry.task.needs and entry.spec.source in self.roots:
            source = get_source(entry.spec.source)
            found = source.find(self.roots[source.name])
            for item in source.inputs:
                if item.name in entry.task.needs and not found[item.name]:
                    yield f"{source.name} ({item.name}: {item.patterns[0]})"


def select(recipe: Recipe, data_root: Path | None, spec_folders: Sequence[Path] = ()) -> Selection:
    """Choose the recipe's tasks and find their sources.

    Raises:
        SpecError: a spec is invalid.
        UsageError: the recipe names a task or source that does not exist, or a reader's option it does not have.
        DataError: none of the sources is on disk.
    """
    entries = load_task_specs(spec_folders)
    choices = recipe.choices
    if unknown := [told for _, told in unknown_names(recipe, entries)]:
        raise UsageError("\n".join(unknown))
    entries = [entry for entry in entries if recipe.takes(entry.spec.source)]
    if recipe.tasks != "all":
        entries = [entry for entry in entries if {entry.name, entry.config} & set(recipe.tasks)]
    needed = {name for entry in entries for name in (entry.spec.source, entry.namespace, *entry.spec.reads)}
    roots = {}
    for name in sorted(needed):
        given = choices[name].root if name in choices else None
        root = find_root(get_source(name), data_root, given)
        if root is not None:
            roots[name] = root
    lacking = [missing_from(get_source(name), data_root) for name in sorted(needed - set(roots))]
    incomplete = [told for told in lacking if told is not None]
    selection = Selection(recipe, entries, roots, incomplete, template_folders(spec_folders))
    if len(selection.absent) == len(entries):
        tried = "; ".join(f"{name}: {', '.join(get_source(name).folders)}" for name in sorted(needed - set(roots)))
        where = f"below --data-root {data_root}" if data_root is not None else "on disk; give --data-root"
        raise DataError(
            "; ".join(
                [f"none of the recipe's tasks has its sources {where} (folders looked for: {tried})", *incomplete]
            )
        )
    return selection


def unknown_names(recipe: Recipe, entries: Sequence[TaskEntry]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Sources, options of them and tasks that a recipe names and that are not there: their places, and what to say.

    Args:
        recipe: the recipe.
        entries: tasks, among them all of its sources.
    """
    known = True
    for name, choice in recipe.choices.items():
        try:
            reader_options(get_source(name), choice.options)
        except UsageError as error:
            yield ("sources", name), str(error)
            known = False
        else:
            if not any(entry.spec.source == name for entry in entries):
                yield ("sources", name), f"no task spec is about source {name!r}; add one with --specs"
    if known and recipe.tasks != "all":
        entries = [entry for entry in entries if recipe.takes(entry.spec.source)]
        tasks = [entry.name for entry in entries]
        for number, name in enumerate(recipe.tasks):
            if name not in tasks and not any(entry.config == name for entry in entries):
                near = get_close_matches(name, tasks, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"they have: {', '.join(tasks)}"
                yield ("tasks", number), f"the recipe's sources have no task {name}; {hint}"


def template_folders(spec_folders: Sequence[Path]) -> list[Path]:
    """Where templates of a user's spec folders lie: in their ``templates/``, or beside the specs."""
    return [path for folder in spec_folders for path in (folder / "templates", folder) if path.is_dir()]


def image_folders(selection: Selection, threads: int = 1) -> dict[str, ImageFolder]:
    """The image folders of the sources on disk."""
    return {
        name: ImageFolder(get_source(name).image_folder(root), selection.recipe.images.check == "decode", threads)
        for name, root in selection.roots.items()
    }


def reader_options(source: Source, given: Mapping[str, Any]) -> Options:
    """Options of a reader, as a recipe gives them.

    Raises:
        UsageError: the reader has no such option, or the value is not one of it.
    """
    try:
        return source.options.model_validate(dict(given))
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        known = ", ".join(source.options.model_fields) or "none"
        raise UsageError(f"sources.{source.name}.options: {faults} (options of this source: {known})") from None
