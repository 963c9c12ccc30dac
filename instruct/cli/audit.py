"""``cxr-instruct audit``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instruct.cli import options

if TYPE_CHECKING:
    from rich.console import Console

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


# Of more keys to leave out than these, a line tells the number.
_KEYS = 8
_NO_FIX = "no line of a recipe leaves these out; build without one of the rows, or see audit_exceptions"


def _show(result: AuditResult) -> None:
    from rich.console import Console
    from rich.text import Text

    from instruct.audit.result import recipe_lines

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)

    def line(*parts: str | tuple[str, str]) -> None:
        console.print(Text.assemble(*parts), soft_wrap=True)

    _draw_matrix(result, console)
    for fix, found in _by_fix(result.findings):
        for told in recipe_lines(fix, _KEYS) or [_NO_FIX]:
            line(("recipe: ", "dim"), (told, "cyan"))
        for leak in found:
            line("  ", ("leak: ", "red"), leak)
        line()
    for item in result.accepted:
        line(("accepted: ", "yellow"), str(item))
        line(f"  {item.accepted}")
    for reason, count in result.left_out.items():
        line(f"not looked at: {count:,} images: {reason}")
    leaks, accepted = len(result.findings), len(result.accepted)
    line((f"{leaks:,} leak{'s' * (leaks != 1)}", "bold red" if leaks else "bold green"), f", {accepted:,} accepted.")
    line(f"Looked for: {', '.join(result.checks)}.")
    if result.fix:
        line("All leaks, recipe:")  # a key on each line, to be copied as they stand
        for told in recipe_lines(result.fix, _KEYS):
            line((told, "cyan"))


def _draw_matrix(result: AuditResult, console: Console) -> None:
    """What the datasets of leaks share: a line for each kind of key."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    splits = ("train", "val", "test")
    leaky = {(item.dataset, item.other) for item in (*result.findings, *result.accepted)}
    pairs: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in result.matrix:
        if {(row["first"], row["second"]), (row["second"], row["first"])} & leaky:
            pairs.setdefault((row["first"], row["second"]), []).append(row)
    if not pairs:
        return
    title = Text("What two datasets share, by their splits; in two splits it leaks", "bold")
    table = Table("datasets", "", box=box.SIMPLE, title=title, title_justify="left", header_style="cyan")
    for one in splits:
        for two in splits:
            table.add_column(f"{one}\n{two}", justify="right")
    for (first, second), rows in pairs.items():
        names = Text(first if first == second else f"{first}\n{second}")
        kinds, columns = [], [Text() for _ in range(len(splits) ** 2)]
        for row in rows:
            kinds.append(_KINDS[row["kind"]])
            cells = [(one != two, row["shared"][one][two]) for one in splits for two in splits]
            for column, (apart, count) in zip(columns, cells, strict=True):
                style = "dim" if not count else "red" if apart and row["kind"] != "text" else ""
                column.append(f"{count:,}\n", style)
        for column in columns:
            column.rstrip()
        table.add_row(names, "\n".join(kinds), *columns)
    console.print(table)


_KINDS = {"patient": "patients", "study": "studies", "image": "images", "text": "same texts"}


def _by_fix(items: list[Finding]) -> list[tuple[dict[str, Any], list[str]]]:
    """Findings as lines, those that one line of a recipe mends together.

    Patients, studies and images that two groups share are one leak seen three times.
    """
    from instruct.audit.result import number
    from instruct.audit.shards import KINDS

    same: dict[tuple[str, ...], list[Finding]] = {}
    for item in items:
        kind = "key" if item.check in KINDS else item.check
        same.setdefault((kind, item.dataset, item.split, item.other, item.other_split), []).append(item)
    by_fix: dict[str, tuple[dict[str, Any], list[str]]] = {}
    for found in same.values():
        shown = next((item for item in found if item.check == "study"), found[-1])
        text = str(shown)
        if len(found) > 1:
            numbers = ", ".join(number(item.count, item.check) for item in found)
            other = f"{shown.other} {shown.other_split}"
            text = f"{shown.dataset} {shown.split}: {numbers} also in {other}; first: {shown.examples[0]}"
        by_fix.setdefault(json.dumps(shown.fix, sort_keys=True), (shown.fix, []))[1].append(text)
    return list(by_fix.values())
