"""``cxr-instruct schema``."""

from __future__ import annotations

import json

import click


@click.command("schema")
@click.argument("kind", type=click.Choice(["task_spec", "recipe"]))
def command(kind: str) -> None:
    """Print the JSON Schema of a task spec or a recipe, for editors."""
    from instruct.specs.schemas import json_schema

    click.echo(json.dumps(json_schema(kind), indent=2))
