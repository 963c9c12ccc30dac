"""``cxr-instruct export``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from instruct.cli import options
from instruct.cli.terminal import print_tables


@click.command("export")
@options.folder
@click.option("--to", type=click.Choice(["parquet", "llava", "llamafactory", "ms-swift", "axolotl"]), required=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", required=True, help="Folder to write.")
@click.option(
    "--form",
    type=click.Choice(["sharegpt", "openai", "arrow"]),
    help="Of llamafactory [sharegpt]; arrow writes no examples and points at the build's own shards.",
)
@click.option("--split", "splits", type=options.split, multiple=True, help="[all] Repeatable.")
@click.option("--tasks", multiple=True, help="'[Task] [Dataset]' or its folder name [all]. Repeatable.")
@click.option("--embed-images", is_flag=True, help="Of parquet: embed the published images of a build without them.")
@click.option(
    "--permission",
    multiple=True,
    metavar="SOURCE=REASON",
    help="Why images of a source may be exported although its terms say no. Repeatable.",
)
@options.as_json
def command(
    folder: Path,
    to: Any,
    out: Path,
    form: Any,
    splits: tuple[str, ...],
    tasks: tuple[str, ...],
    embed_images: bool,
    permission: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the dataset folder OUT as Parquet for the Hugging Face Hub, or as another trainer reads it.

    What cannot be exported is counted by reason. Where images are copied, the terms of their sources must allow it.
    """
    from instruct.export.export import export, left_out_lines
    from instruct.reports.markdown import Table
    from instruct.specs.terms import read_permissions

    done = export(
        folder, to, out, form=form, tasks=tasks, splits=splits, embed_images=embed_images,
        permissions=read_permissions(permission),
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps({"out": str(done.out)} | json.loads((done.out / "export.json").read_text("utf-8"))))
        return
    rows = [
        [name, split, tally.exported, sum(tally.left_out.values())]
        for name, row in done.rows.items()
        for split, tally in row.items()
    ]
    print_tables([Table("Examples", ["row", "split", "exported", "left out"], rows)])
    for line in left_out_lines(done):
        click.echo(line)
    for note, number in done.notes.items():
        click.echo(f"{number:,} examples: {note}")
    images = f", {done.images:,} image files" if done.images else ""
    click.echo(f"{done.exported:,} examples{images}: {done.out}")
