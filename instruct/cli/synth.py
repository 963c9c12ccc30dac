"""``cxr-instruct synth``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from instruct.cli import options


@click.command("synth")
@click.argument("source")
@options.out
@click.option("--studies", type=click.IntRange(20), default=200, show_default=True, help="Size of the corpus.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--images/--no-images", default=True, show_default=True, help="Whether to draw the images.")
@options.as_json
def command(source: str, out: Path, studies: int, seed: int, images: bool, as_json: bool) -> None:
    """Write a made-up corpus of SOURCE, in the layout its owners publish, into --out."""
    from instruct.errors import UsageError
    from instruct.reports.count_table import planted_counts, to_json, to_markdown
    from instruct.synth import SOURCES, write

    if source not in SOURCES:
        raise UsageError(f"no synthetic corpus of {source!r}; there are: {', '.join(SOURCES)}")
    planted = write(source, out, studies=studies, seed=seed, images=images)
    counts = planted_counts(planted.counts)
    if as_json:
        click.echo(json.dumps({"out": str(out), "planted": to_json(counts)["rows"]}))
    else:
        click.echo(to_markdown(counts).partition("## All the datasets\n\n")[2].rsplit("\n", 2)[0])
        click.echo(f"{studies:,} studies planted: {out}")
