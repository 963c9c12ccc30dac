"""Verify: whether a dataset folder still holds what its manifest says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from instruct.build.counts import count_shards
from instruct.build.files import read_json
from instruct.build.image_table import image_schema
from instruct.build.output import MANIFEST, REPORTS, OutputFolder
from instruct.build.publish import descriptions
from instruct.build.schema import shard_schema
from instruct.digest import digest_file
from instruct.errors import DataError, UsageError


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished build.

    Raises:
        UsageError: the folder holds none.
        DataError: it is damaged.
    """
    output = OutputFolder(folder)
    if output.manifest:
        return output.manifest
    if (folder / MANIFEST).is_file():
        raise DataError(f"{folder / MANIFEST}: is damaged; run the same build command again")
    if output.work.is_dir():
        raise UsageError(f"{folder}: the build is not finished (no {MANIFEST}); run the same build command again")
    raise UsageError(f"{folder}: is no build of cxr-instruct (no {MANIFEST})")


def verify(folder: Path) -> list[str]:
    """Everything in a dataset folder that is not as its manifest says; empty if all is well.

    Checked are every shard's presence, size, digest, schema and rows, shards that do not belong, the files that
    ``datasets`` opens them by, and the counts; and that the reports of the build are there.
    """
    manifest = read_manifest(folder)
    problems: list[str] = []
    wanted = set()
    for task in manifest["tasks"]:
        for split in task["splits"].values():
            for shard in split["shards"]:
                file = folder / shard["file"]
                wanted.add(file)
                problems += _check_shard(file, shard, shard["examples"], shard_schema())
    stored = manifest.get("images", {"sources": {}})["sources"]
    images = {source: held["shards"] for source, held in stored.items() if held["shards"]}
    for shard in (shard for shards in images.values() for shard in shards):
        file = folder / shard["file"]
        wanted.add(file)
        problems += _check_shard(file, shard, shard["images"], image_schema())
    strays = sorted(file for file in folder.glob("*/*/arrow/data-*") if file not in wanted)
    problems += [f"{file}: does not belong to the build" for file in strays]
    published = {
        task["config"]: {name: split["shards"] for name, split in task["splits"].items()}
        for task in manifest["tasks"]
        if task["splits"]
    }
    problems += [
        f"{folder / name}: does not say what the manifest does"
        for name, content in descriptions(published, images).items()
        if read_json(folder / name) != content
    ]
    problems += [f"{folder / name}: is missing" for name in REPORTS if not (folder / name).is_file()]
    if not problems:
        counts = count_shards(folder, manifest["tasks"])
        for task in manifest["tasks"]:
            for name, split in task["splits"].items():
                records = sum(shard["records"] for shard in split["shards"])
                counted = counts.rows[task["name"]][name].examples
                if counted != records:
                    problems.append(
                        f"{task['name']} {name}: {counted:,} records in the shards, {records:,} in the manifest"
                    )
    return problems


def _check_shard(file: Path, shard: dict[str, Any], rows: int, schema: pa.Schema) -> list[str]:
    if not file.is_file():
        return [f"{file}: is missing"]
    if file.stat().st_size != shard["bytes"]:
        return [f"{file}: has {file.stat().st_size:,} bytes; the manifest says {shard['bytes']:,}"]
    if digest_file(file) != shard["sha256"]:
        return [f"{file}: its content differs from what was built"]
    with pa.memory_map(str(file)) as source:
        table = pa.ipc.open_stream(source).read_all()
    if not table.schema.equals(schema):
        return [f"{file}: has another schema than this release writes"]
    if len(table) != rows:
        return [f"{file}: has {len(table):,} rows; the manifest says {rows:,}"]
    return []
