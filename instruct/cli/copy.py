"""``cxr-instruct copy``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from instruct.cli import options


@click.command("copy")
@options.folder
@click.argument("url")
@options.store_options
@options.as_json
def command(folder: Path, url: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Copy the build, export or piece of a build OUT to URL, any place that fsspec knows (s3://, gs://, abfs://, ...).

    Every file is read back and compared, and what says that the copy is whole goes last. Run it again after a break: it
    goes on. Pieces of one build may all go to one URL. The terms of the sources hold for the copy too.
    """
    from instruct.export.pieces import holds_piece, send_piece
    from instruct.export.store import copy_to

    send = send_piece if holds_piece(folder) else copy_to
    copied = send(
        folder, url, options.read_store(settings), None if as_json else lambda file: click.echo(file, err=True)
    )
    if as_json:
        click.echo(json.dumps({"url": url, **vars(copied)}))
        return
    click.echo(
        f"{copied.sent} files sent ({copied.bytes:,} bytes), {copied.kept} there already,"
        f" {copied.removed} removed: {url}"
    )
    if copied.others:
        click.echo(f"{copied.others} other files there are no part of a copy and were left alone", err=True)
