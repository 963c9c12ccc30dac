"""``cxr-instruct lint``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from instruct.cli import options


@click.command("lint")
@click.argument("recipes", nargs=-1)
@options.specs
@options.as_json
def command(recipes: tuple[str, ...], specs: tuple[Path, ...], as_json: bool) -> None:
    """Check every task spec, query and template (and RECIPES) without data; all faults at once.

    A recipe whose file is named mixture_* or lora_* is checked as one that mixes or trains.
    """
    from instruct.build.lint import lint
    from instruct.build.selection import template_folders
    from instruct.errors import SpecError
    from instruct.resources import shipped
    from instruct.specs.task_spec import load_task_specs

    problems: list[str] = []
    tasks = 0
    for recipe in recipes or [str(path) for path in sorted(shipped("recipes").glob("*.yaml"))]:
        try:
            _load(recipe)
        except SpecError as error:
            problems += error.problems
    try:
        entries = load_task_specs(specs)
        tasks = len(entries)
        problems += lint(entries, template_folders(specs))
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


def _load(recipe: str) -> None:
    """Read a recipe as what its file name says it is."""
    from instruct.mixture.recipe import load_mixture_recipe
    from instruct.specs.recipe import load_recipe, recipe_kind
    from instruct.training.recipe import load_training_recipe

    loaders = {"build": load_recipe, "mixture": load_mixture_recipe, "lora": load_training_recipe}
    loaders[recipe_kind(Path(recipe).stem)](recipe)
