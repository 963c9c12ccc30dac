"""``cxr-instruct demo``."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from instruct.cli import options
from instruct.cli.progress import progress

if TYPE_CHECKING:
    from instruct.build.counts import Counts


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder to fill.")
@click.option("--studies", type=click.IntRange(20), default=200, show_default=True, help="Studies per source.")
@click.option("--all", "everything", is_flag=True, help="Every source and row, not only OpenI and REX-Gradient.")
@options.workers
@options.as_json
def command(out: Path, studies: int, everything: bool, workers: int, as_json: bool) -> None:
    """Run the main job on made-up corpora: write them, build their rows, print the count table."""
    dataset, counts = build_demo(out, studies, everything=everything, workers=workers, quiet=as_json)
    if as_json:
        from instruct.reports.count_table import to_json

        click.echo(json.dumps({"data": str(out / "data"), "dataset": str(dataset), "counts": to_json(counts)}))
        return
    click.echo((dataset / "counts.md").read_text("utf-8"))
    # In an environment that is not activated, as that of `make demo`, the commands need their folder.
    own, here = Path(sys.executable).parent, Path.cwd()
    own = own.relative_to(here) if own.is_relative_to(here) else own
    folder = "" if shutil.which("cxr-instruct") else f"{own}/"
    click.echo(f"The dataset is in {dataset}. Look at it (the second way needs `{folder}pip install datasets`):\n")
    click.echo(f"    {folder}cxr-instruct show {dataset}")
    click.echo(f"    {folder}python -c \"import datasets; print(datasets.load_from_disk('{dataset}'))\"")


def build_demo(
    out: Path, studies: int, *, everything: bool = False, workers: int = 1, quiet: bool = False
) -> tuple[Path, Counts]:
    """Write made-up corpora into a folder and build their rows, as far as that is not done.

    Args:
        out: the folder; it gets ``data/`` and ``dataset/`` (``dataset-all/`` for every source).
        studies: studies per source.
        everything: every source, not only those of the recipe ``demo``.
        workers: processes that render.
        quiet: say nothing.

    Returns:
        The dataset folder, and what was counted in it.

    Raises:
        UsageError: the folder holds corpora of another size.
    """
    from instruct.api import build_dataset, load_recipe
    from instruct.build.files import read_json, write_json
    from instruct.errors import UsageError
    from instruct.synth import SOURCES, write

    recipe = load_recipe("all" if everything else "demo")
    data, dataset = out / "data", out / ("dataset-all" if everything else "dataset")
    file = data / "written.json"
    written = read_json(file) or {}
    finished: list[str] = written.get("sources", [])
    if finished and written["studies"] != studies:
        raise UsageError(f"{data}: holds corpora of {written['studies']} studies; choose another --out, or delete it")
    if written.get("writing"):  # a demo was killed amid a corpus
        for half in {*SOURCES} - {*finished}:
            shutil.rmtree(data / half, ignore_errors=True)
    for source in filter(recipe.takes, SOURCES):
        if source in finished:
            continue  # by an earlier demo, or as the upstream of another source
        if not quiet:
            click.echo(f"writing {studies} made-up studies of {source} into {data / source}", err=True)
        write_json(file, {"studies": studies, "sources": finished, "writing": True})
        write(source, data / source, studies=studies)
        finished = sorted(folder.name for folder in data.iterdir() if folder.is_dir())
        write_json(file, {"studies": studies, "sources": finished})
    with progress(quiet=quiet) as listener:
        result = build_dataset(recipe, dataset, data_root=data, workers=workers, listener=listener)
    return dataset, result.counts
