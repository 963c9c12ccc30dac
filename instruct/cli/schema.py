"""``cxr-instruct schema``."""

from __future__ import annotations

import json
from importlib import import_module

import click

# Kind of file to the model that describes it, imported when it is asked for.
_MODELS = {
    "task_spec": "instruct.specs.task_spec:TaskSpec",
    "recipe": "instruct.specs.recipe:Recipe",
    "mixture": "instruct.mixture.recipe:MixtureRecipe",
    "training": "instruct.training.recipe:TrainingRecipe",
}


@click.command("schema")
@click.argument("kind", type=click.Choice(list(_MODELS)))
def command(kind: str) -> None:
    """Print the JSON Schema of a task spec, or of a recipe that builds, mixes or trains, for editors."""
    from instruct.specs.schemas import schema_of

    module, _, name = _MODELS[kind].partition(":")
    click.echo(json.dumps(schema_of(getattr(import_module(module), name), kind), indent=2))
