"""``cxr-instruct build``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from instruct.cli import options
from instruct.cli.progress import progress
from instruct.memory import collect_seldom, keep_freed

if TYPE_CHECKING:
    from instruct.build.build import BuildResult


@click.command("build")
@click.argument("recipe")
@options.overrides
@options.data_root
@options.out
@options.workers
@options.executor
@options.address
@click.option(
    "--shard", metavar="I/N", help="Make the I-th of N pieces and publish nothing; `merge` or `build` gathers them."
)
@options.specs
@options.as_json
def command(
    recipe: str,
    overrides: tuple[str, ...],
    data_root: Path | None,
    out: Path,
    workers: int,
    executor: Literal["local", "ray"],
    address: str | None,
    shard: str | None,
    specs: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Build RECIPE (a file, or a shipped name such as demo) into a dataset folder with its count table.

    Whatever an earlier or interrupted build left is reused; nothing is rendered twice.
    """
    collect_seldom()
    from instruct.specs.recipe import load_recipe

    chosen = load_recipe(recipe, overrides)
    if len(chosen.sources) == 1 and chosen.choices:  # its tables stay in memory, beside which this is little
        keep_freed()
    from instruct.api import build_dataset

    if shard is None:
        with progress(quiet=as_json) as listener:
            result = build_dataset(
                chosen, out, data_root=data_root, workers=workers, executor=executor, address=address, specs=specs,
                listener=listener,
            )  # fmt: skip
        report(result, as_json)
        return
    from instruct.build.execute import make_executor
    from instruct.build.pieces import build_piece
    from instruct.build.share import Share

    share = Share.parse(shard)
    with progress(quiet=as_json) as listener:
        piece = build_piece(
            chosen, out, share, make_executor(executor, workers, address), data_root=data_root, spec_folders=specs,
            listener=listener,
        )  # fmt: skip
    if as_json:
        click.echo(json.dumps({"out": str(out.absolute()), "piece": str(share), "shards": vars(piece)}))
        return
    click.echo(f"piece {share}: {piece.built} shards made, {piece.reused} there already: {out}")
    if piece.lacking_images:
        click.echo(
            f"{piece.lacking_images} shards of images are not there yet: `cxr-instruct merge` makes the rows over them"
            " once all pieces are done, or every piece its part of them if it is run again"
        )
    else:
        click.echo("when all pieces are done, `cxr-instruct merge` publishes them")


def report(result: BuildResult, as_json: bool) -> None:
    """Say what a build made."""
    summary = {"built": result.built, "reused": result.reused, "dropped": result.dropped}
    if as_json:
        from instruct.reports.count_table import to_json

        document: dict[str, Any] = {"out": str(result.out), "shards": summary, "bad": bad_records(result.manifest)}
        click.echo(json.dumps(document | {"counts": to_json(result.counts)}))
        return
    click.echo((result.out / "counts.md").read_text("utf-8"))
    for line in notes(result.manifest):
        click.echo(line)
    rendered = "nothing to render: every shard is up to date" if not result.built else f"{result.built} shards rendered"
    click.echo(f"{rendered}, {result.reused} reused, {result.dropped} dropped: {result.out}")


def bad_records(manifest: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Quarantined records: task to reason to number."""
    return {task["name"]: task["bad"] for task in manifest["tasks"] if task.get("bad")}


def notes(manifest: dict[str, Any]) -> list[str]:
    """What a person should know of a build: what was left out, what is missing, what differs from a full release."""
    lines = []
    for source, held in manifest.get("images", {"sources": {}})["sources"].items():
        for reason, number in held["bad"].items():
            lines.append(f"images of {source}: {number:,} not stored: {reason} (quarantine-images.jsonl)")
    for task in manifest["tasks"]:
        name = task["name"]
        for reason, number in task.get("bad", {}).items():
            lines.append(f"{name}: {number:,} records left out: {reason} (quarantine.jsonl)")
        moved = (task["facts"] or {}).get("moved")
        if moved:
            numbers = ", ".join(f"{number:,} {what}" for what, number in moved.items())
            lines.append(f"{name}: records by splits and leave_out of the recipe: {numbers}")
        for reason, number in task.get("dropped_images", {}).items():
            lines.append(f"{name}: {number:,} images left out of records that stay: {reason}")
        if task.get("missing_images"):
            root = manifest["image_roots"].get(task["source"])
            looked = f"looked for below {root}; " if root else ""
            lines.append(
                f"{name}: {task['missing_images']:,} images are referred to and not on disk"
                f" ({looked}images.missing=drop leaves them out)"
            )
        if task.get("dicom") and manifest["recipe"]["images"]["store"] == "reference":
            lines.append(
                f"{name}: its images are DICOM files, which `datasets` and trainers cannot open by path;"
                " images.store=pack or embed makes pictures of them"
            )
        found = {split: task["splits"].get(split, {}).get("records", 0) for split in task["expect"]}
        if not task.get("absent") and found != task["expect"]:
            expected = ", ".join(f"{split} {number:,}" for split, number in task["expect"].items())
            lines.append(f"{name}: the full release gives {expected}")
    return lines
