"""``cxr-instruct mixture``."""

from __future__ import annotations

import json

import click

from instruct.cli import options


@click.command("mixture")
@click.argument("recipe")
@options.overrides
@click.option("--split", type=options.split, default="train", show_default=True)
@options.as_json
def command(recipe: str, overrides: tuple[str, ...], split: str, as_json: bool) -> None:
    """Print what an epoch of the mixture RECIPE (a file, or a shipped name) draws of each "[Task] [Dataset]".

    Nothing is written or copied: data=[OUT] names the dataset folders, any amount can be changed by KEY=VALUE.
    """
    from instruct.mixture.index import build_index
    from instruct.mixture.recipe import load_mixture_recipe
    from instruct.mixture.report import mixture_report, to_text

    mixture = load_mixture_recipe(recipe, overrides)
    report = mixture_report(mixture, build_index(mixture, split))
    click.echo(json.dumps(report) if as_json else to_text(report), nl=as_json)
