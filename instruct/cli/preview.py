"""``cxr-instruct preview``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from instruct.cli import options


@click.command("preview")
@options.folder
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.html", help="File to write [preview.html].")
@click.option("-n", "--size", type=click.IntRange(1), help="Examples in the file [200].")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Which examples are chosen.")
@click.option("--task", help="'[Task] [Dataset]' or its folder name; default: every task.")
@click.option("--split", type=options.split, help="Default: every split.")
@click.option("--pixels", type=click.IntRange(16, 4096), default=640, show_default=True, help="Longer side of images.")
@click.option("--share", is_flag=True, help="The file is for others: refused where the terms of a source forbid that.")
@click.option(
    "--permission",
    multiple=True,
    metavar="SOURCE=REASON",
    help="With --share: why a source may be shown although its terms say no. Repeatable.",
)
@click.option("--serve", is_flag=True, help="Write no file; page through the whole build in a browser on this machine.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of --serve [a free one].")
@options.as_json
def command(
    folder: Path,
    out: Path | None,
    size: int | None,
    seed: int,
    task: str | None,
    split: str | None,
    pixels: int,
    share: bool,
    permission: tuple[str, ...],
    serve: bool,
    port: int | None,
    as_json: bool,
) -> None:
    """Show examples of the dataset folder OUT with their images, boxes and masks.

    Writes one HTML file that opens from disk and loads nothing: a sample in which every task, dataset and split has its
    share. It holds images and texts: keep it among people who may see them, or use --share.
    """
    from instruct.errors import UsageError

    if serve:
        if out is not None or size is not None or share:
            raise UsageError("--serve shows the whole build and writes no file; leave --out, --size and --share away")
        _serve(folder, port or 0, pixels, task, split, as_json)
        return
    if port is not None:
        raise UsageError("--port belongs to --serve")
    if permission and not share:
        raise UsageError("--permission belongs to --share")
    from instruct.reports.preview.document import write_preview
    from instruct.reports.preview.pictures import NOT_INSTALLED
    from instruct.specs.terms import read_permissions

    out = Path("preview.html") if out is None else out
    done = write_preview(
        folder, out, size=size or 200, seed=seed, pixels=pixels, task=task, split=split,
        share=share, permissions=read_permissions(permission),
    )  # fmt: skip
    if as_json:
        click.echo(json.dumps(asdict(done) | {"file": str(out)}))
        return
    click.echo(f"{out}: {done.examples:,} of {done.of:,} examples, {done.images:,} images, {done.bytes / 1e6:.1f} MB")
    for reason, number in sorted(done.not_shown.items()):
        mend = " (DICOM: pip install 'cxr-instruct[dicom]')" if reason == NOT_INSTALLED else ""
        click.echo(f"{number:,} images are not shown: {reason}{mend}")
    click.echo(f"strictest access term of what it holds: {done.access}")


def _serve(folder: Path, port: int, pixels: int, task: str | None, split: str | None, as_json: bool) -> None:
    from contextlib import suppress

    from instruct.reports.preview.server import PreviewServer

    with PreviewServer(folder, port, pixels, task, split) as server:
        click.echo(json.dumps({"url": server.url}) if as_json else f"open {server.url}\nCtrl-C ends it")
        with suppress(KeyboardInterrupt):
            server.serve_forever()
