"""``cxr-instruct diff``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from instruct.cli import options

if TYPE_CHECKING:
    from instruct.build.diff import BuildDiff
    from instruct.build.diff_rows import Difference


@click.command("diff")
@click.argument("before", type=click.Path(path_type=Path), metavar="A")
@click.argument("after", type=click.Path(path_type=Path), metavar="B")
@options.as_json
def command(before: Path, after: Path, as_json: bool) -> None:
    """Say what the dataset folders A and B differ in: by task, by reason, with ids.

    Shards of one digest are not read.
    """
    from instruct.build.diff import diff

    found = diff(before, after)
    if as_json:
        click.echo(json.dumps({"same": found.same} | asdict(found)))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: BuildDiff) -> Iterator[str]:
    for key, (before, after) in found.recipe.items():
        yield f"recipe: {key}: {json.dumps(before)} -> {json.dumps(after)}"
    for task in found.tasks:
        yield f"{task.name}: {task.before:,} -> {task.after:,} examples"
        yield from (f"  because: {cause}" for cause in task.causes)
        yield from (f"  {_line(item, 'examples')}" for item in task.differences)
        yield from (f"  {_line(item, 'quarantined records')}" for item in task.quarantine)
    for source, differences in found.images.items():
        yield f"images of {source}"
        yield from (f"  {_line(item, 'images')}" for item in differences)
    same = "the same examples and images; " if found.same else ""
    yield f"{same}{found.read[0]:,} of {found.read[1]:,} shards differ"


def _line(item: Difference, what: str) -> str:
    reason = f": {item.reason}" if item.reason else ""
    ids = ", ".join(item.ids) + (", ..." if item.number > len(item.ids) else "")
    return f"{item.number:,} {what} {item.kind}{reason} ({ids})"
