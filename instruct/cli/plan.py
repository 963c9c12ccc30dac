"""``cxr-instruct plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from instruct.cli import options
from instruct.memory import collect_seldom


@click.command("plan")
@click.argument("recipe")
@options.overrides
@options.data_root
@options.out
@options.specs
@options.as_json
def command(
    recipe: str, overrides: tuple[str, ...], data_root: Path | None, out: Path, specs: tuple[Path, ...], as_json: bool
) -> None:
    """Say what a build of RECIPE into --out would render, reuse and drop, and why. Nothing is changed."""
    collect_seldom()
    from instruct.build.plan import dry_run
    from instruct.specs.recipe import load_recipe

    rows: list[dict[str, Any]] = dry_run(load_recipe(recipe, overrides), out, data_root, specs)
    if as_json:
        click.echo(json.dumps({"tasks": rows}))
        return
    for row in rows:
        noun = "images" if "images" in row["records"] else "records"
        click.echo(
            f"{row['task']}: {sum(row['records'].values()):,} {noun}; shards: {row['build']} to build,"
            f" {row['reuse']} to reuse, {row['drop']} to drop"
        )
        for reason in row["reasons"]:
            click.echo(f"    {reason}")
    if not any(row["build"] or row["drop"] for row in rows):
        click.echo("nothing to do: every shard is up to date")
