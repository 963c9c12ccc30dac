"""``cxr-instruct demo``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from instruct.cli import options
from instruct.cli.progress import progress


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="Folder to fill.")
@click.option("--studies", type=click.IntRange(20), default=200, show_default=True, help="Studies per source.")
@click.option("--all", "everything", is_flag=True, help="Every source and row, not only OpenI and REX-Gradient.")
@options.workers
@options.as_json
def command(out: Path, studies: int, everything: bool, workers: int, as_json: bool) -> None:
    """Run the main job on made-up corpora: write them, build their rows, print the count table."""
    from instruct.api import build_dataset, load_recipe
    from instruct.build.files import read_json, write_json
    from instruct.errors import UsageError
    from instruct.synth import SOURCES, write

    recipe = load_recipe("all" if everything else "demo")
    data, dataset = out / "data", out / ("dataset-all" if everything else "dataset")
    written = read_json(data / "written.json") or {"studies": studies, "sources": []}
    if written["studies"] != studies:
        raise UsageError(f"{data}: holds corpora of {written['studies']} studies; choose another --out, or delete it")
    for source in [name for name in SOURCES if name in recipe.sources]:
        if source in written["sources"]:
            continue  # by an earlier demo, or as the upstream of another source
        if not as_json:
            click.echo(f"writing {studies} made-up studies of {source} into {data / source}", err=True)
        write(source, data / source, studies=studies)
        written["sources"] = sorted(folder.name for folder in data.iterdir() if folder.is_dir())
        write_json(data / "written.json", written)
    with progress(quiet=as_json) as listener:
        result = build_dataset(recipe, dataset, data_root=data, workers=workers, listener=listener)
    if as_json:
        from instruct.reports.count_table import to_json

        click.echo(json.dumps({"data": str(data), "dataset": str(dataset), "counts": to_json(result.counts)}))
        return
    click.echo((dataset / "counts.md").read_text("utf-8"))
    click.echo(f"The dataset is in {dataset}. Look at it (the second way needs `pip install datasets`):\n")
    click.echo(f"    cxr-instruct show {dataset}")
    click.echo(f"    python -c \"import datasets; print(datasets.load_from_disk('{dataset}'))\"")
