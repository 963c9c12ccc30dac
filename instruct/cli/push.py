"""``cxr-instruct push``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from instruct.cli import options


@click.command("push")
@options.folder
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--private/--public", "private", default=None, help="Who sees the repository; there is no default.")
@click.option(
    "--permission",
    multiple=True,
    metavar="SOURCE=REASON",
    help="Why a source may be published although its terms say no; the card prints it. Repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, list what would go up, send nothing.")
@options.as_json
def command(
    folder: Path, repository: str, private: bool | None, permission: tuple[str, ...], dry_run: bool, as_json: bool
) -> None:
    """Publish the dataset folder OUT on the Hugging Face Hub, as the dataset OWNER/NAME.

    Refused where the terms of a source forbid it, without a clean audit, and without a word on who may see it.
    """
    from instruct.errors import UsageError
    from instruct.reports.push import prepare, upload
    from instruct.specs.terms import read_permissions

    if private is None:
        raise UsageError("say who may see the repository: --private or --public")
    plan = prepare(folder, repository, private, read_permissions(permission))
    visibility = "private" if private else "public"
    if not as_json:
        for name, size in plan.files.items():
            click.echo(f"{size:>14,}  {name}")
        click.echo(f"{plan.bytes:>14,}  {len(plan.files)} files, to the {visibility} dataset {repository}")
    address = None if dry_run else upload(plan, lambda line: click.echo(line, err=True))
    if as_json:
        document = {"repository": repository, "private": private, "files": plan.files, "commit": address}
        click.echo(json.dumps(document))
    else:
        click.echo("nothing was sent (--dry-run)" if address is None else address)
