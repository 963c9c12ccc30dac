"""``cxr-instruct check``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from instruct.cli import options

if TYPE_CHECKING:
    from instruct.training.preflight import Preflight

_SHOWN = 5


@click.command("check")
@click.argument("recipe")
@options.overrides
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@options.as_json
def command(recipe: str, overrides: tuple[str, ...], workers: int, as_json: bool) -> None:
    """Look for what the training of RECIPE would stumble over, and write the rows to leave out.

    Decodes every image, measures every row, finds control tokens in texts and answers of which nothing would be
    learnt, and shows one example as the model sees it. The run reads OUT/exclusions.jsonl.
    """
    from instruct.training.preflight import check
    from instruct.training.recipe import load_training_recipe

    chosen = load_training_recipe(recipe, overrides)
    found = check(chosen, workers=workers, say=None if as_json else lambda text: click.echo(text, err=True))
    if as_json:
        found.refuse_nothing()
        click.echo(json.dumps(found.as_json(), ensure_ascii=False))
        return
    _print(found)
    found.refuse_nothing()


def _print(found: Preflight) -> None:
    for part in found.parts:
        left_out = ", ".join(f"{reason} {number:,}" for reason, number in part.excluded.items())
        click.secho(f"{part.label} {part.split}", bold=True)
        click.echo(
            f"    {part.usable:,} of {part.rows:,} rows usable, {part.images:,} images, {part.tokens:,} tokens "
            f"({part.supervised:,} supervised), longest row {part.longest:,}"
        )
        if left_out:
            click.echo(f"    left out: {left_out}")
    for entry in found.exclusions[:_SHOWN]:
        click.echo(f"    {entry.label} {entry.split} {entry.id}: {entry.reason}: {entry.detail}")
    more = len(found.exclusions) - _SHOWN
    if found.exclusions:
        click.echo(f"    {f'and {more:,} more; ' if more > 0 else ''}all in {found.list}")
    click.echo(f"\n{found.images:,} images decoded. Processor: {found.processor}. Supervised by {found.supervision}.")
    for note in found.notes:
        click.echo(f"Note: {note}")
    if found.example:
        click.secho(f"\n{found.example}, as the model sees it; ⟦supervised⟧:", bold=True)
        click.echo(
            "".join(
                click.style(f"⟦{piece.text}⟧", fg="green") if piece.supervised else piece.text
                for piece in found.segments
            )
        )
