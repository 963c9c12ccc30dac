"""What the tests of the audit share: builds of made-up corpora, and what an audit says of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from instruct.api import build_dataset, load_recipe
from tests.build.helpers import call


def recipe(folder: Path, sources: Iterable[str], **fields: Any) -> Path:
    """Write a recipe; JSON is YAML."""
    file = folder / "recipe.yaml"
    content = {"name": "audited", "sources": {name: {} for name in sources}, "max_bad": 1, **fields}
    file.write_text(json.dumps(content), "utf-8")
    return file


def build(folder: Path, data: Path, sources: Iterable[str], out: str = "out", **fields: Any) -> Path:
    """Build some sources' rows into a folder."""
    specs = [folder / "specs"] if (folder / "specs").is_dir() else []
    return build_dataset(load_recipe(recipe(folder, sources, **fields)), folder / out, data_root=data, specs=specs).out


def audit(out: Path, *arguments: str, clean: bool = False) -> dict[str, Any]:
    """Audit a build on the command line, whose exit code must say whether it is clean; the result as JSON."""
    done = call("audit", out, "--json", *arguments, check=0 if clean else 4)
    result: dict[str, Any] = json.loads(done.out)
    assert json.loads((out / "audit.json").read_text("utf-8")) == result
    assert bool(result["findings"]) is not clean
    return result


def named(result: dict[str, Any], key: str = "findings") -> dict[tuple[str, str, str, str, str], int]:
    """Findings as (check, dataset, split, other, other split) to number."""
    return {
        (one["check"], one["dataset"], one["split"], one["other"], one["other_split"]): one["count"]
        for one in result[key]
    }


def shard(file: Path, rows: list[tuple[str | None, list[str], list[str]]]) -> Path:
    """A shard that holds keys alone: patient, studies, images of each example."""
    patients, studies, images = (list(column) for column in zip(*rows, strict=True))
    kind = pa.list_(pa.string())
    keys = pa.StructArray.from_arrays(
        [pa.array(map(str, range(len(rows)))), pa.array(patients, pa.string()), pa.array(studies, kind),
         pa.array(images, kind)],
        names=["record", "patient", "studies", "images"],
    )  # fmt: skip
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, pa.schema([("keys", keys.type)])) as writer:
        writer.write_batch(pa.record_batch([keys], ["keys"]))
    return file
