"""``cxr-instruct lint``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from instruct.cli import options
from instruct.memory import collect_seldom

if TYPE_CHECKING:
    from instruct.specs.task_spec import TaskEntry


@click.command("lint")
@click.argument("recipes", nargs=-1)
@options.specs
@options.as_json
def command(recipes: tuple[str, ...], specs: tuple[Path, ...], as_json: bool) -> None:
    """Check every task spec, query and template (and RECIPES) without data; all faults at once.

    A recipe whose file is named mixture_* or lora_* is checked as one that mixes or trains.
    """
    collect_seldom()
    from instruct.build.lint import lint
    from instruct.build.selection import template_folders
    from instruct.errors import SpecError
    from instruct.resources import shipped
    from instruct.specs.task_spec import load_task_specs

    problems: list[str] = []
    entries: list[TaskEntry] | None = None
    try:
        entries = load_task_specs(specs)
        problems += lint(entries, template_folders(specs))
    except SpecError as error:
        problems += error.problems
    tasks = len(entries or ())
    for recipe in recipes or [str(path) for path in sorted(shipped("recipes").glob("*.yaml"))]:
        try:
            problems += _lint_recipe(recipe, entries)
        except SpecError as error:
            problems += error.problems
    if as_json:
        click.echo(json.dumps({"tasks": tasks, "problems": problems}))
    else:
        for problem in problems:
            click.echo(problem)
        click.echo(
            f"{tasks} tasks checked, {len(problems)} problems" if problems else f"{tasks} tasks checked, all is well"
        )
    if problems:
        click.get_current_context().exit(SpecError.exit_code)


def _lint_recipe(recipe: str, entries: Sequence[TaskEntry] | None) -> list[str]:
    """Read a recipe as what its file name says it is; what it names that is not there."""
    from instruct.build.selection import unknown_names
    from instruct.mixture.recipe import load_mixture_recipe
    from instruct.specs.recipe import Recipe, load_recipe_with_places, recipe_kind
    from instruct.training.recipe import load_training_recipe

    kind = recipe_kind(Path(recipe).stem)
    if kind != "build":
        {"mixture": load_mixture_recipe, "lora": load_training_recipe}[kind](recipe)
        return []
    built, file = load_recipe_with_places(recipe, Recipe, kind=kind)
    return [] if entries is None else [f"{file.place(at)}: {told}" for at, told in unknown_names(built, entries)]
