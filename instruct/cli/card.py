"""``cxr-instruct card``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from instruct.cli import options
from instruct.cli.stats import plots_option, tokenizer_option, write

if TYPE_CHECKING:
    from instruct.reports.statistics.report import PlotForm


@click.command("card")
@options.folder
@options.data_root
@options.specs
@tokenizer_option
@plots_option
@options.as_json
def command(
    folder: Path,
    data_root: Path | None,
    specs: tuple[Path, ...],
    tokenizer: Path | None,
    plots: PlotForm | None,
    as_json: bool,
) -> None:
    """Write the whole dataset card of OUT: README.md, croissant.json, CITATION.bib, with statistics and plots.

    A build writes the card without statistics, plots and worded examples; this adds them.
    """
    from instruct.reports.card import write_card
    from instruct.reports.statistics import compute_statistics

    statistics = compute_statistics(folder, data_root=data_root, tokenizer=tokenizer)
    files, drawn = write(folder, statistics, plots)
    files = [*write_card(folder, statistics, drawn, specs), *files]
    if as_json:
        click.echo(json.dumps({"files": [file.relative_to(folder).as_posix() for file in files]}))
        return
    for file in files:
        click.echo(file)
