"""``cxr-instruct adapter``."""

from __future__ import annotations

from pathlib import Path

import click

from instruct.cli import options

_run = click.argument("run", type=click.Path(path_type=Path), metavar="RUN")


@click.group("adapter")
def command() -> None:
    """Take the adapter out of a training run: alone, or merged into its base model."""


@command.command("export")
@_run
@options.out
def export(run: Path, out: Path) -> None:
    """Copy the adapter of RUN (a run, a checkpoint or an adapter) with its card into a new folder."""
    from instruct.training.export import export_adapter

    click.echo(f"adapter: {export_adapter(run, out)}")


@command.command("merge")
@_run
@options.out
@click.option("--base", help="Folder or Hub id of the base model; default: the one that the adapter names.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Type of the weights that are written; auto: as the base is stored.",
)
def merge(run: Path, out: Path, base: str | None, dtype: str) -> None:
    """Write the base model with the adapter of RUN merged into it, as a model folder of its own."""
    from instruct.training.export import merge as merge_adapter

    click.echo(f"merged model: {merge_adapter(run, out, base, dtype)}")
