"""``cxr-instruct merge``."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

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
    multiple=True,
    metavar="PIECE",
    help="Folder of a piece that was not made in --out, or URL that `copy` sent pieces to. Repeatable.",
)
@options.store_options
@options.workers
@options.specs
@options.as_json
def command(
    recipe: str,
    overrides: tuple[str, ...],
    data_root: Path | None,
    out: Path,
    pieces: tuple[str, ...],
    settings: tuple[str, ...],
    workers: int,
    specs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Publish the build of RECIPE that `build --shard I/N` made in pieces, in --out or in folders of their own.

    The recipe, its overrides and the data are those of the pieces. A piece that is missing or damaged is refused by the
    names of its shards; `build` makes them instead.
    """
    from instruct.api import build_dataset, load_recipe
    from instruct.export.pieces import fetch_pieces

    chosen = load_recipe(recipe, overrides)
    beside = out.absolute().parent  # on its disk, so that shards need not be copied again
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".merge-", dir=beside) as fetched, progress(quiet=as_json) as listener:
        folders = [Path(piece) for piece in pieces if "://" not in piece]
        for number, url in enumerate(piece for piece in pieces if "://" in piece):
            folders.append(Path(fetched) / str(number))
            fetch_pieces(url, folders[-1], options.read_store(settings))
        result = build_dataset(
            chosen, out, data_root=data_root, workers=workers, pieces=folders, specs=specs, listener=listener
        )
    report(result, as_json)
