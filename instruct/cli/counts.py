"""``cxr-instruct counts``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from instruct.cli import options
from instruct.cli.terminal import on_terminal, print_tables


@click.command("counts")
@options.folder
@click.option(
    "--compare",
    metavar="FILE.csv|published",
    help="Show our cell, that of another count table and the difference; 'published' is the table of CheXinstruct.",
)
@click.option("--format", "form", type=click.Choice(["markdown", "csv"]), help="[drawn on a terminal, else markdown]")
@options.as_json
def command(folder: Path, compare: str | None, form: str | None, as_json: bool) -> None:
    """Count what the dataset folder OUT holds, from its shards."""
    from instruct.build.counts import count_shards
    from instruct.build.verify import read_manifest
    from instruct.reports import count_table

    if form is not None and (compare is not None or as_json):
        raise click.UsageError("--format is that of the count table; it goes with neither --compare nor --json")
    manifest = read_manifest(folder)
    counts = count_shards(folder, manifest["tasks"])
    if compare is not None:
        if compare != "published" and not Path(compare).is_file():
            raise click.BadParameter(f"{compare}: no such file (or write 'published')", param_hint="--compare")
        other = count_table.published() if compare == "published" else count_table.read_csv(Path(compare))
        differences = count_table.compare(counts, other)
        if as_json:
            click.echo(json.dumps({"differences": [asdict(item) for item in differences]}))
        else:
            click.echo(count_table.comparison_markdown(counts, other, differences), nl=False)
    elif as_json:
        click.echo(json.dumps(count_table.to_json(counts)))
    elif form == "csv":
        click.echo(count_table.to_csv(counts), nl=False)
    elif on_terminal() and form is None:
        print_tables([count_table.to_table(counts)])
    else:
        absent = {task["name"]: task["absent"] for task in manifest["tasks"] if task.get("absent")}
        click.echo(count_table.to_markdown(counts, absent), nl=False)
