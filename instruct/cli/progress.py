"""Progress of a build on stderr: a bar on a terminal, plain lines otherwise, nothing with ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

Listener = Callable[[dict[str, Any]], None]


@contextmanager
def progress(quiet: bool) -> Iterator[Listener]:
    """A listener for the events of a build."""
    if quiet:
        yield lambda event: None
    elif sys.stderr.isatty():
        with _bar() as listener:
            yield listener
    else:
        yield _plain


def _plain(event: dict[str, Any]) -> None:
    if event["event"] in _LINES:
        click.echo(_LINES[event["event"]](event), err=True)


def _planned(event: dict[str, Any]) -> str:
    records = sum(event["records"].values())
    noun = "images" if "images" in event["records"] else "records"
    parts = [f"{event[kind]} to {kind}" for kind in ("build", "reuse", "drop") if event[kind]]
    reasons = f" ({'; '.join(event['reasons'])})" if event["reasons"] else ""
    return f"{event['task']}: {records:,} {noun}, shards: {', '.join(parts) or 'none'}{reasons}"


def _start(event: dict[str, Any]) -> str:
    told = [f"building {event['recipe']} into {event['out']}"]
    if event["absent"]:
        told.append(f"not on disk, their rows will be zeros: {', '.join(event['absent'])}")
    return "; ".join([*told, *event["incomplete"]])


def _images(event: dict[str, Any]) -> str:
    bad = ", ".join(f"{number:,} {reason}" for reason, number in event["bad"].items())
    return f"images of {event['source']}: {event['stored']:,} stored" + (f"; left out: {bad}" if bad else "")


def _audit(event: dict[str, Any]) -> str:
    accepted = f", {event['accepted']:,} accepted" if event["accepted"] else ""
    return f"audit: {event['leaks']:,} leaks between splits{accepted}" + (
        " (cxr-instruct audit OUT shows them)" if event["leaks"] else ""
    )


def _died(event: dict[str, Any]) -> str:
    return f"a worker process died; run again: {', '.join(event['running'])}"


def _taken(event: dict[str, Any]) -> str:
    return f"{event['piece']}: {event['shards']} shards taken"


_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "start": _start,
    "planned": _planned,
    "images": _images,
    "audit": _audit,
    "died": _died,
    "taken": _taken,
}


@contextmanager
def _bar() -> Iterator[Listener]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("shards"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)
        planned = done = 0

        def listen(event: dict[str, Any]) -> None:
            nonlocal planned, done
            if event["event"] in _LINES:
                bar.console.print(_LINES[event["event"]](event), markup=False, highlight=False)
            if event["event"] in ("planned", "shard"):
                planned += event.get("build", 0)
                done += event["event"] == "shard"
                # Shards are rendered while their task is still being planned.
                bar.update(task, completed=done, total=max(planned, done), description="rendering")
            elif event["event"] == "publish":
                bar.update(task, description="publishing")

        yield listen
