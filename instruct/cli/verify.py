"""``cxr-instruct verify``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from instruct.cli import options


@click.command("verify")
@options.folder
@options.as_json
def command(folder: Path, as_json: bool) -> None:
    """Check that the folder OUT holds the shards that were built and no others, and that its reports are there."""
    from instruct.build.verify import verify
    from instruct.errors import DataError

    problems = verify(folder)
    if as_json:
        click.echo(json.dumps({"problems": problems}))
    else:
        for problem in problems:
            click.echo(problem)
        click.echo("build it again: what is damaged is made anew" if problems else f"{folder}: all is well")
    if problems:
        click.get_current_context().exit(DataError.exit_code)
