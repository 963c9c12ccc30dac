"""The record of a run: ``log.jsonl`` and lines on the console."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from instruct.build.files import append_line

FILE = "log.jsonl"


def write_event(run: Path, event: str, **facts: Any) -> None:
    """Add a line to a run's log; only the main process may.

    Args:
        run: folder of the run.
        event: what kind of line: ``start``, ``train``, ``evaluation``, ``scores``, ``note``, ``stop``, ``end``.
        facts: plain data; a number that is not finite, which JSON does not have, is written as the text ``nan``,
            ``inf`` or ``-inf``, and read as a number again.

    Raises:
        DataError: no space is left, or the file cannot be written.
    """
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    append_line(run / FILE, json.dumps(_finite({"event": event, "time": time, **facts}), default=str, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _number(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key: float(value) if value in ("nan", "inf", "-inf") else value for key, value in pairs}


def read_log(run: Path, event: str | None = None) -> Iterator[dict[str, Any]]:
    """Lines of a run's log.

    Args:
        run: folder of the run.
        event: only lines of this kind. Of ``train`` and ``evaluation`` lines the last of each step is taken: a resumed
            run repeats the steps after its checkpoint.
    """
    lines = []
    for text in (run / FILE).read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(text, object_pairs_hook=_number))
        except ValueError:
            continue  # the last line of a killed run
    chosen = [line for line in lines if event is None or line["event"] == event]
    if event not in ("train", "evaluation"):
        yield from chosen
        return
    by_step = {line["step"]: line for line in chosen}
    yield from (by_step[step] for step in sorted(by_step))


def console_line(facts: dict[str, Any], steps: int, say: Callable[[str], None] = click.echo) -> None:
    """Say a ``train`` line in words."""
    parts = [
        f"step {facts['step']}/{steps}",
        f"loss {facts['loss']:.4f}",
        f"lr {facts['learning_rate']:.2e}",
        f"{facts['examples_per_s']:.1f} examples/s",
        f"{facts['supervised_tokens_per_s']:.0f}/{facts['tokens_per_s']:.0f} supervised/all tokens/s",
        f"padding {100 * facts['padding_waste']:.1f} %",
        f"loader wait {100 * facts['loader_wait']:.1f} %",
        f"memory {facts['memory_bytes'] / 2**30:.2f} GiB",
    ]
    if "mfu" in facts:
        parts.append(f"MFU {100 * facts['mfu']:.1f} %")
    say("  ".join(parts))


def console_evaluation(facts: dict[str, Any], say: Callable[[str], None] = click.echo) -> None:
    """Say an ``evaluation`` line in words: the loss of all, then of each '[Task] [Dataset]'."""
    say(
        f"step {facts['step']}  evaluation loss {facts['loss']:.4f} ({math.exp(min(facts['loss'], 50)):.2f} perplexity)"
    )
    for label, part in facts["parts"].items():
        say(f"    {part['loss']:.4f}  {label}  ({part['rows']} rows, {part['supervised_tokens']} tokens)")
