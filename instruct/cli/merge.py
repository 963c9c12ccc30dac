"""``cxr-instruct merge``."""

from __future__ import annotations

from pathlib import Path

import click

from instruct.cli import options
from instruct.cli.build import report
from instruct.cli.progress import progress


@click.command("merge")
@click.argument("recipe")
@options.overrides
@options.data_root
@options.out
@click.option(
    "--from",
    "pieces",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="PIECE",
    help="Folder of a piece that was not made in --out. Repeatable.",
)
@options.workers
@options.specs
@options.as_json
def command(
    recipe: str,
    overrides: tuple[str, ...],
    data_root: Path | None,
    out: Path,
    pieces: tuple[Path, ...],
    workers: int,
    specs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Publish the build of RECIPE that `build --shard I/N` made in pieces, in --out or in folders of their own.

    The recipe, its overrides and the data are those of the pieces. A piece that is missing or damaged is refused by the
    names of its shards; `build` makes them instead.
    """
    from instruct.api import build_dataset, load_recipe

    with progress(quiet=as_json) as listener:
        result = build_dataset(
            load_recipe(recipe, overrides), out, data_root=data_root, workers=workers, pieces=pieces, specs=specs,
            listener=listener,
        )  # fmt: skip
    report(result, as_json)
