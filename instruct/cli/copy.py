"""``cxr-instruct copy``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from instruct.cli import options


@click.command("copy")
@options.folder
@click.argument("url")
@click.option(
    "--option", "settings", multiple=True, metavar="KEY=VALUE", help="Of the file system, as fsspec takes it."
)
@options.as_json
def command(folder: Path, url: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Copy the finished build OUT to URL, any place that fsspec knows (s3://, gs://, abfs://, sftp://, a folder).

    Every file is read back and compared; the manifest goes last. Run it again after a break: it goes on. The terms of
    the sources hold for the copy too.
    """
    from instruct.errors import UsageError
    from instruct.export.store import copy_to
    from instruct.specs.yaml_file import load_value

    for setting in settings:
        if "=" not in setting:
            raise UsageError(f"--option {setting!r} is not of the form KEY=VALUE")
    given = {key: load_value(value) for key, _, value in (setting.partition("=") for setting in settings)}
    copied = copy_to(folder, url, given, None if as_json else lambda file: click.echo(file, err=True))
    if as_json:
        click.echo(json.dumps({"url": url, **vars(copied)}))
        return
    click.echo(
        f"{copied.sent} files sent ({copied.bytes:,} bytes), {copied.kept} there already,"
        f" {copied.removed} removed: {url}"
    )
