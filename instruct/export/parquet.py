"""Parquet for the Hugging Face Hub: the columns of the build, in row groups that its viewer can read.

Row groups are counted in memory, where the viewer's limit lies: of text and image bytes before compression.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from instruct.build.schema import COLUMNS, IMAGE_TYPE, features, shard_schema
from instruct.export.folder import ExportFolder
from instruct.export.groups import Group
from instruct.export.pictures import Left, Pictures, fault_of
from instruct.export.trainers import Tally

# Bytes of a row group: `datasets` and the Hub's viewer ask for 100 MB at most.
GROUP_BYTES = 80_000_000
# Bytes after which another file begins.
FILE_BYTES = 500_000_000
# Of a row group, what is put together at a time.
_PIECE_ROWS = 500
_PIECE_BYTES = 8_000_000
_BUFFER = 1 << 20


def write_parquet(
    groups: Sequence[Group], pictures: Pictures, embed: bool, folder: ExportFolder
) -> tuple[dict[str, dict[str, list[str]]], dict[Group, Tally]]:
    """Write the examples of each group into Parquet files. Memory holds one row group.

    Args:
        groups: what to export.
        pictures: the images.
        embed: whether rows get the bytes of their images; otherwise they hold their keys, ``source/path``.
        folder: the export.

    Returns:
        Configuration to split to its files; and what became of the examples.
    """
    files: dict[str, dict[str, list[str]]] = {}
    tallies = {}
    schema = hub_schema(embed)
    for group in groups:
        tally = tallies[group] = Tally()
        staged: list[str] = []
        row_groups = _row_groups(_pieces(group, pictures, embed, schema, tally))
        table = next(row_groups, None)
        while table is not None:
            name = f".export/staged/{group.config}-{group.split}-{len(staged)}"
            staged.append(name)
            with (
                folder.file(name) as file,
                pa.BufferedOutputStream(pa.PythonFile(file, "w"), _BUFFER) as sink,
                # Without a page index the viewer has to read a whole row group for one page.
                pq.ParquetWriter(sink, schema, compression="zstd", write_page_index=True) as writer,
            ):
                while table is not None and sink.tell() < FILE_BYTES:
                    writer.write_table(table, row_group_size=len(table))
                    table = None  # before the next one is put together
                    table = next(row_groups, None)
        for number, name in enumerate(staged):
            target = f"{group.config}/{group.split_name}-{number:05d}-of-{len(staged):05d}.parquet"
            folder.adopt(name, target)
            files.setdefault(group.config, {}).setdefault(group.split, []).append(target)
    return files, tallies


def hub_schema(embed: bool) -> pa.Schema:
    """The schema of the build's shards; where images are not embedded, ``datasets`` is told not to open them."""
    schema = shard_schema()
    if embed:
        return schema
    told = features() | {"images": [{"decode": False, "_type": "Image"}]}
    metadata = schema.metadata | {b"huggingface": json.dumps({"info": {"features": told}}, sort_keys=True).encode()}
    return schema.with_metadata(metadata)


def _row_groups(pieces: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    size = 0
    for piece in pieces:
        if held and size + piece.nbytes > GROUP_BYTES:
            yield _take(held)
            size = 0
        held.append(piece)
        size += piece.nbytes
    if held:
        yield _take(held)


def _take(held: list[pa.RecordBatch]) -> pa.Table:
    """What is held, as a table; nothing is held any more."""
    table = pa.Table.from_batches(held)
    held.clear()
    return table


def _pieces(group: Group, pictures: Pictures, embed: bool, schema: pa.Schema, tally: Tally) -> Iterator[pa.RecordBatch]:
    """The examples with their images, no piece larger than a row group unless it is one example."""
    names = [name for name, _ in COLUMNS]
    for batch in group.batches(names):
        for start in range(0, len(batch), _PIECE_ROWS):
            some = batch.slice(start, _PIECE_ROWS)
            rows: list[int] = []
            images: list[list[dict[str, Any]]] = []
            size, text = 0, some.drop_columns("images").nbytes // len(some)
            for row, keys in enumerate(pc.struct_field(some.column("keys"), "images").to_pylist()):
                found = _images(some, row, keys, pictures, embed)
                if isinstance(found, Left):
                    tally.left_out[found] += 1
                    continue
                more = text + sum(len(image["bytes"] or b"") for image in found)
                if rows and size + more > min(_PIECE_BYTES, GROUP_BYTES):
                    yield _piece(some, rows, images, schema)
                    rows, images, size = [], [], 0
                rows.append(row)
                images.append(found)
                size += more
                tally.exported += 1
            if rows:
                yield _piece(some, rows, images, schema)


def _images(
    batch: pa.RecordBatch, row: int, keys: list[str], pictures: Pictures, embed: bool
) -> list[dict[str, Any]] | Left:
    """Images of an example, by key, so that nothing tells of this machine's folders."""
    if not embed:
        return [{"bytes": None, "path": key} for key in keys]
    held = batch.column("images")[row].as_py()
    found = []
    for image, key in zip(held, keys, strict=True):
        if pictures.store != "reference":
            content = pictures.content(image, key)
        else:
            path = pictures.published(image, key)
            fault = fault_of(path)
            if fault not in (None, Left.DEEP_IMAGE):  # `datasets` gives 16-bit images as they are
                return fault
            with open(path, "rb") as file:  # noqa: PTH123
                content = file.read()
        found.append({"bytes": content, "path": key})
    return found


def _piece(
    batch: pa.RecordBatch, rows: list[int], images: list[list[dict[str, Any]]], schema: pa.Schema
) -> pa.RecordBatch:
    taken = batch.take(pa.array(rows, pa.int32())) if len(rows) < len(batch) else batch
    flat = [image for some in images for image in some]
    offsets = np.zeros(len(images) + 1, np.int32)
    np.cumsum([len(some) for some in images], out=offsets[1:])
    column = pa.ListArray.from_arrays(
        pa.array(offsets),
        pa.StructArray.from_arrays(
            [
                pa.array([image["bytes"] for image in flat], pa.binary()),
                pa.array([image["path"] for image in flat], pa.string()),
            ],
            fields=list(IMAGE_TYPE),
        ),
    )
    columns = [column if name == "images" else taken.column(name) for name in schema.names]
    return pa.record_batch(columns, schema=schema)
