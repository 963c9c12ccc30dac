"""Checkpoints of a run: which are complete, which is the newest, and whether a run may be continued from them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instruct.build.files import read_json, write_json
from instruct.digest import digest_file
from instruct.errors import DataError, UsageError

COMPLETE = "complete.json"
_NAME = re.compile(r"checkpoint-([0-9]+)")


def checkpoints(run: Path) -> list[Path]:
    """Checkpoint folders of a run, complete or not, by step."""
    found = [path for path in run.glob("checkpoint-*") if path.is_dir() and _NAME.fullmatch(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """Optimizer steps a checkpoint has behind it."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match is not None
    return int(match[1])


def mark_complete(checkpoint: Path, world_size: int) -> None:
    """Write down what a checkpoint holds, when all processes have written their part: a kill before leaves no mark."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != COMPLETE)
    content = {
        path.relative_to(checkpoint).as_posix(): {"bytes": path.stat().st_size, "sha256": digest_file(path)}
        for path in files
    }
    write_json(checkpoint / COMPLETE, {"world_size": world_size, "files": content})


def fault(checkpoint: Path) -> str | None:
    """Why a checkpoint cannot be resumed from; None where it can."""
    record = read_json(checkpoint / COMPLETE)
    if not isinstance(record, dict):
        return f"it was not finished: there is no {COMPLETE}"
    for name, facts in record["files"].items():
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != facts["bytes"] or digest_file(path) != facts["sha256"]:
            return f"{name} is not as it was written"
    return None


def newest(run: Path) -> tuple[Path | None, list[str]]:
    """The newest complete checkpoint of a run, and a line for each newer one that was passed over."""
    skipped: list[str] = []
    for checkpoint in reversed(checkpoints(run)):
        why = fault(checkpoint)
        if why is None:
            return checkpoint, skipped
        skipped.append(f"{checkpoint}: skipped: {why}")
    return None, skipped


def resume_from(run: Path, resume: str | None) -> tuple[Path | None, list[str]]:
    """Where a run starts, and what to say about it.

    Args:
        run: folder of the run.
        resume: ``auto`` for the newest complete checkpoint, if any; a checkpoint's folder; None to start a new run.

    Raises:
        UsageError: a new run would overwrite checkpoints; or there is no such checkpoint, or it is another run's.
        DataError: the named checkpoint is not complete.
    """
    if resume is None:
        if found := checkpoints(run):
            raise UsageError(
                f"{run}: already holds a run, up to {found[-1].name}; --resume auto continues it, out=… starts another"
            )
        return None, []
    if resume == "auto":
        checkpoint, lines = newest(run)
        where = f"resuming from {checkpoint}" if checkpoint else f"{run}: no complete checkpoint; starting anew"
        return checkpoint, [*lines, where]
    checkpoint = Path(resume)
    if not checkpoint.is_dir() or not _NAME.fullmatch(checkpoint.name):
        raise UsageError(f"{checkpoint}: no checkpoint folder; expected auto or RUN/checkpoint-N")
    if checkpoint.resolve().parent != run.resolve():
        raise UsageError(
            f"{checkpoint}: is not of the run in {run}; expected {run}/checkpoint-N. To go on with the other run,"
            f" use its recipe with out={checkpoint.parent}"
        )
    if why := fault(checkpoint):
        raise DataError(f"{checkpoint}: cannot be resumed from: {why}; --resume auto takes the newest complete one")
    return checkpoint, [f"resuming from {checkpoint}"]


def check_same_run(run: Path, facts: Mapping[str, Any]) -> None:
    """Refuse to continue a run with other data, another model or another recipe.

    Args:
        run: folder of the run; its ``run.json`` says what it was started with.
        facts: what it would be continued with.

    Raises:
        DataError: naming everything that differs.
    """
    record = read_json(run / "run.json")
    if not isinstance(record, dict) or "facts" not in record:
        raise DataError(f"{run / 'run.json'}: is missing or broken; a run without it cannot be continued")
    saved = record["facts"]
    different = [
        f"{name}: {_show(saved.get(name))} when the run was started, {_show(facts.get(name))} now"
        for name in sorted({*saved, *facts})
        if saved.get(name) != facts.get(name)
    ]
    if different:
        lines = "; ".join(different)
        raise DataError(
            f"{run}: cannot be resumed, this is another run: {lines}. Use the same recipe, or another out=…"
        )


def _show(value: Any) -> str:
    text = str(value)
    return text[:16] if re.fullmatch("[0-9a-f]{64}", text) else text
