"""``cxr-instruct audit``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instruct.cli import options

if TYPE_CHECKING:
    from instruct.audit.result import AuditResult, Finding


@click.command("audit")
@options.folder
@click.option("--images", is_flag=True, help="Also decode every image on disk and look for copies under other names.")
@click.option("--no-texts", is_flag=True, help="Do not compare report texts.")
@click.option("--all-keys", is_flag=True, help="Name every key of a finding, not the first 20.")
@options.workers
@options.as_json
def command(folder: Path, images: bool, no_texts: bool, all_keys: bool, workers: int, as_json: bool) -> None:
    """Look for leaks between the splits of the dataset folder OUT; exit code 4 if there are any.

    The result is written to OUT/audit.json too, where the card and `push` read it. Exceptions are those of the recipe
    that OUT was built by.
    """
    from instruct.audit.audit import EXAMPLES, audit
    from instruct.build.files import write_json
    from instruct.build.verify import read_manifest
    from instruct.errors import DataError
    from instruct.specs.recipe import AuditException

    manifest = read_manifest(folder)
    result = audit(
        folder,
        manifest,
        exceptions=[AuditException.model_validate(item) for item in manifest["recipe"].get("audit_exceptions", ())],
        texts=not no_texts,
        images=images,
        threads=workers,
        examples=None if all_keys else EXAMPLES,
    )
    write_json(folder / "audit.json", result.to_json())
    if as_json:
        click.echo(json.dumps(result.to_json(), ensure_ascii=False))
    else:
        _show(result)
    if result.findings:
        click.get_current_context().exit(DataError.exit_code)


_KINDS = {"patient": "patients", "study": "studies", "image": "images", "text": "texts", "pixels": "pictures"}


def _show(result: AuditResult) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from instruct.audit.result import recipe_line

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    splits = ("train", "val", "test")
    leaky = {(item.dataset, item.other) for item in (*result.findings, *result.accepted)}
    rows = [row for row in result.matrix if {(row["first"], row["second"]), (row["second"], row["first"])} & leaky]
    if rows:
        title = "Keys that two datasets share, by their splits; in two splits they leak"
        heads = (f"{one}\n{two}" for one in splits for two in splits)
        table = Table("", "", *heads, box=box.SIMPLE, title=title, title_justify="left")
        for column in table.columns[2:]:
            column.justify = "right"
        for row in rows:
            cells = [(one != two, row["shared"][one][two]) for one in splits for two in splits]
            shown = [f"[red]{number:,}[/]" if apart and number else f"{number:,}" for apart, number in cells]
            table.add_row(f"{row['first']}\n{row['second']}", _KINDS[row["kind"]], *shown)
        console.print(table)
    for colour, word, items in (("red", "leak", result.findings), ("yellow", "accepted", result.accepted)):
        for line, fix, reason in _lines(items):
            console.print(f"{word}: {line}", style=colour, markup=False, soft_wrap=True)
            console.print(f"  {reason or 'recipe: ' + recipe_line(fix)}", markup=False, soft_wrap=True)
    for reason, number in result.left_out.items():
        console.print(f"not looked at: {number:,} images: {reason}", markup=False, soft_wrap=True)
    console.print(f"{len(result.findings):,} leaks, {len(result.accepted):,} accepted.", markup=False, soft_wrap=True)
    console.print(f"Looked for: {', '.join(result.checks)}.", markup=False, soft_wrap=True)
    if result.fix:
        console.print(f"All leaks, recipe: {recipe_line(result.fix)}", markup=False, soft_wrap=True)


def _lines(items: list[Finding]) -> list[tuple[str, dict[str, Any], str]]:
    """A line for each pair of groups: patients, studies and images that they share are one leak seen three times."""
    from instruct.audit.shards import KINDS

    lines: dict[tuple[str, ...], list[Finding]] = {}
    for item in items:
        kind = "key" if item.check in KINDS else item.check
        lines.setdefault((kind, item.dataset, item.split, item.other, item.other_split, item.accepted), []).append(item)
    shown = []
    for found in lines.values():
        last = found[-1]
        if len(found) == 1:
            text = str(last)
        else:
            numbers = ", ".join(f"{item.count:,} {_KINDS[item.check]}" for item in found)
            first = f"first: {last.examples[0]}"
            text = f"{last.dataset} {last.split}: {numbers} also in {last.other} {last.other_split}; {first}"
        shown.append((text, last.fix, last.accepted))
    return shown
