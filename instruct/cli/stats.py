"""``cxr-instruct stats``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instruct.cli import options
from instruct.cli.terminal import print_tables

if TYPE_CHECKING:
    from instruct.reports.statistics.report import PlotForm

tokenizer_option = click.option(
    "--tokenizer", type=click.Path(path_type=Path), metavar="DIR", help="Also count the tokens of the model in DIR."
)
plots_option = click.option(
    "--plots", type=click.Choice(["svg", "png", "none"]), help="Format of the plots [svg where matplotlib is there]."
)


@click.command("stats")
@options.folder
@options.data_root
@tokenizer_option
@plots_option
@options.as_json
def command(
    folder: Path, data_root: Path | None, tokenizer: Path | None, plots: PlotForm | None, as_json: bool
) -> None:
    """Statistics of the dataset folder OUT: studies, patients, sections, people, views, answers, prompts, labels.

    Writes statistics.md, statistics.json and plots/ into OUT. Rows are counted from the shards; what is known of their
    studies is read again from the sources, whose files must be those that the build read.
    """
    from instruct.reports.statistics import compute_statistics
    from instruct.reports.statistics.tables import statistics_tables

    statistics = compute_statistics(folder, data_root=data_root, tokenizer=tokenizer)
    files, _ = write(folder, statistics, plots)
    if as_json:
        click.echo(json.dumps(statistics, ensure_ascii=False))
        return
    print_tables(statistics_tables(statistics))
    click.echo(f"wrote {len(files)} files into {folder}: {', '.join(file.name for file in files[:3])} …", err=True)


def write(folder: Path, statistics: dict[str, Any], plots: PlotForm | None) -> tuple[list[Path], list[Path]]:
    """Write statistics; without a wish for plots, the lack of matplotlib is told and no error."""
    from importlib.util import find_spec

    from instruct.reports.statistics.report import write_statistics

    if plots is None and find_spec("matplotlib") is None:
        click.echo("no plots: they need matplotlib, pip install 'cxr-instruct[plots]'", err=True)
        plots = "none"
    return write_statistics(folder, statistics, plots or "svg")
