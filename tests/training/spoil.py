"""Faults put into a copy of a dataset folder: rows that no build would write, files that broke afterwards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa

from instruct.digest import digest_file

Row = dict[str, Any]


def copied(dataset: Path, out: Path, *, own_images: bool = False) -> Path:
    """A copy of a dataset folder, with image files of its own if they are to be spoilt."""
    shutil.copytree(dataset, out)
    if own_images:
        folder = out.parent / "images"
        folder.mkdir()

        def move(rows: list[Row]) -> None:
            for row in rows:
                for image, key in zip(row["images"], row["keys"]["images"], strict=True):
                    own = folder / key.replace("/", "_")
                    if not own.exists():
                        shutil.copy(image["path"], own)
                    image["path"] = str(own)

        change(out, move)
    return out


def change(dataset: Path, spoil: Callable[[list[Row]], object], config: str = "*", split: str = "*") -> None:
    """Let a function change the rows of some shards, and make the manifest agree with what comes out."""
    manifest = json.loads((dataset / "manifest.json").read_text("utf-8"))
    shards = {
        shard["file"]: shard
        for task in manifest["tasks"]
        for content in task["splits"].values()
        for shard in content["shards"]
    }
    for file in sorted(dataset.glob(f"{config}/{split}/arrow/data-*.arrow")):
        with pa.OSFile(str(file)) as source:
            table = pa.ipc.open_stream(source).read_all()
        rows = table.to_pylist()
        spoil(rows)
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(pa.Table.from_pylist(rows, table.schema))
        entry = shards[file.relative_to(dataset).as_posix()]
        entry.update(bytes=file.stat().st_size, sha256=digest_file(file), examples=len(rows))
    (dataset / "manifest.json").write_text(json.dumps(manifest), "utf-8")


def say(row: Row, role: str, text: str) -> None:
    """Put a text in the place of what the last turn of a role says, keeping its images."""
    turn = next(turn for turn in reversed(row["messages"]) if turn["role"] == role)
    kept = [part for part in turn["content"] if part["type"] == "image"]
    turn["content"] = [*kept, {"type": "text", "text": text}]


def cut_file(path: str | Path) -> None:
    """Leave the first half of a file."""
    file = Path(path)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
