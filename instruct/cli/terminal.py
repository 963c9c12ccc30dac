"""Tables on a terminal: drawn and coloured there, Markdown where the output goes into a file or another program."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from instruct.reports.markdown import Table

# Columns of numbers are at least as wide as this, so that their heads are read without effort.
_NARROWEST = 9


def on_terminal() -> bool:
    """Whether a person sees the output as it comes."""
    return sys.stdout.isatty()


def print_tables(tables: Iterable[Table]) -> None:
    """Print tables: drawn on a terminal, else as Markdown with their titles as heads."""
    if on_terminal():
        _draw(tables)
        return
    for table in tables:
        click.echo(f"## {table.title}\n\n{table.markdown()}\n")


def _draw(tables: Iterable[Table]) -> None:
    from textwrap import fill

    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    from instruct.reports.markdown import show, visible

    console = Console()
    for table in tables:
        drawn = Drawn(box=box.SIMPLE_HEAD, title=Text(table.title, "bold"), title_justify="left", header_style="cyan")
        cells = [[visible(show(cell)) for cell in row] for row in table.rows]
        for place, head in enumerate(table.heads):
            numeric = table.is_numeric(place)
            if numeric:  # no wider than its numbers, where the words of its head allow that
                widest = max(_NARROWEST, *map(len, head.split()), *(len(row[place]) for row in cells))
                head = fill(head, widest, break_long_words=False, break_on_hyphens=False)
            drawn.add_column(Text(head), justify="right" if numeric else "left", overflow="fold")
        for texts in cells:
            drawn.add_row(*map(Text, texts))
        console.print(drawn)
        if table.note:
            console.print(Text(table.note, "dim"))
        console.print()
