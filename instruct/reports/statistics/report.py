"""Statistics as files of the dataset folder: ``statistics.json``, ``statistics.md`` and ``plots/``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from instruct.build.files import write_json, write_text
from instruct.reports.markdown import escape
from instruct.reports.statistics.plots import write_plots
from instruct.reports.statistics.tables import statistics_tables

DATA, TEXT = "statistics.json", "statistics.md"
PlotForm = Literal["svg", "png", "none"]


def write_statistics(
    folder: Path, statistics: Mapping[str, Any], plots: PlotForm = "svg"
) -> tuple[list[Path], list[Path]]:
    """Write statistics into the dataset folder.

    Args:
        folder: the dataset folder.
        statistics: of :func:`~instruct.reports.statistics.compute_statistics`.
        plots: format of the plots, or none.

    Returns:
        Every file written, and the plots among them.

    Raises:
        UsageError: plots are wanted and matplotlib is not installed.
    """
    drawn = write_plots(statistics, folder, plots) if plots != "none" else []
    write_json(folder / DATA, statistics)
    parts = [f"# Statistics of {escape(statistics['build'])}"]
    parts += [f"## {escape(table.title)}\n\n{table.markdown()}" for table in statistics_tables(statistics)]
    parts += ["## Plots\n\n" + "\n".join(f"![{plot.stem}]({plot.relative_to(folder).as_posix()})" for plot in drawn)]
    write_text(folder / TEXT, "\n\n".join(parts if drawn else parts[:-1]) + "\n")
    return [folder / DATA, folder / TEXT, *drawn], drawn
