"""``cxr-instruct show``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from instruct.cli import options
from instruct.cli.terminal import on_terminal


@click.command("show")
@options.folder
@click.option("--task", help="'[Task] [Dataset]' or its folder name; default: every task.")
@click.option("--split", type=options.split, help="Default: every split.")
@click.option("--id", "identifier", help="The example of this id.")
@click.option("-n", "number", type=click.IntRange(1), default=1, show_default=True, help="Examples per task and split.")
@options.as_json
def command(
    folder: Path, task: str | None, split: str | None, identifier: str | None, number: int, as_json: bool
) -> None:
    """Print examples of the dataset folder OUT as a model will see them."""
    from instruct.build.examples import find_examples

    found = find_examples(folder, task=task, split=split, identifier=identifier, number=number)
    if as_json:
        click.echo(json.dumps({"examples": found}, ensure_ascii=False))
        return
    if not found:
        click.echo("no example in what was asked for", err=True)
    for example in found:
        if on_terminal():
            _draw(example)
        else:
            _print(example)


def _draw(example: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.panel import Panel
    from rich.rule import Rule
    from rich.text import Text

    console = Console()
    head = f"[{example['task']}] [{example['dataset']}] {example['split']}: {example['id']}"
    console.print(Rule(Text(head, "bold"), align="left", style="dim"))
    images = iter(example["images"])
    for message in example["messages"]:
        said = Text()
        for part in message["content"]:
            if part["type"] == "image":
                said.append(f"<image: {next(images)['path']}>\n", "magenta")
            else:
                said.append(part["text"].strip("\n") + "\n")
        said.rstrip()
        colour = {"assistant": "green", "system": "yellow"}.get(message["role"], "cyan")
        console.print(Panel(said, title=Text(message["role"], colour), title_align="left", border_style=colour))
    for region in example["regions"]:
        console.print(Text(f"region: {json.dumps(region)}", "dim"))
    source = example["provenance"]
    told = f"from {source['origin']}, template {source['template']}, variant {source['variant']}"
    console.print(Text(told, "dim"))


def _print(example: dict[str, Any]) -> None:
    click.secho(f"[{example['task']}] [{example['dataset']}] {example['split']}: {example['id']}", bold=True)
    images = iter(example["images"])
    for message in example["messages"]:
        click.secho(f"{message['role']}:", fg="cyan")
        for part in message["content"]:
            click.echo(f"<image: {next(images)['path']}>" if part["type"] == "image" else part["text"].strip("\n"))
    for region in example["regions"]:
        click.echo(f"region: {json.dumps(region)}")
    source = example["provenance"]
    click.secho(f"from {source['origin']}, template {source['template']}, variant {source['variant']}\n", dim=True)
