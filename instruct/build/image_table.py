"""Images tables: every image of a source once, resized and encoded, in shards like those of examples.

Rows are ordered by the key of their path, a 64-bit digest, and shards are cut where a key says so: an image more or
less changes one shard, and finding one takes two binary searches over memory-mapped numbers.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from instruct.build.schema import IMAGE_TYPE, features_of, schema_of
from instruct.images.geometry import Geometry
from instruct.shard import open_shard

if TYPE_CHECKING:  # it would import what decodes images
    from instruct.images.store import StoredImage

# One shard in this many keys begins a shard; a shard never holds more than four times as many.
SHARD_IMAGES = 512
MAX_SHARD_IMAGES = 4 * SHARD_IMAGES
# Images of a record batch: far below the 2 GiB that 32-bit offsets reach.
_BATCH_BYTES = 32 << 20

COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("key", pa.uint64()),  # first eight bytes of the SHA-256 of the path; rows are ordered by it
    ("path", pa.string()),  # as the source's tables name the image
    ("image", IMAGE_TYPE),  # the stored image: one channel, 8 bits
    ("width", pa.int32()),  # of the stored image, padding included
    ("height", pa.int32()),
    ("source_width", pa.int32()),  # of the published image, the right way up
    ("source_height", pa.int32()),
    ("content_x", pa.int32()),  # where in the stored image the content lies
    ("content_y", pa.int32()),
    ("content_width", pa.int32()),
    ("content_height", pa.int32()),
    ("window", pa.string()),  # how values became grey levels; docs/images.md
    ("low", pa.float64()),  # the value that became black, or white where inverted
    ("high", pa.float64()),
    ("inverted", pa.bool_()),
    ("content_hash", pa.string()),  # of the stored pixels before they were encoded, without padding
    ("perceptual_hash", pa.uint64()),
)


def image_features() -> dict[str, Any]:
    """The columns as ``datasets`` features."""
    return features_of(COLUMNS)


def image_schema() -> pa.Schema:
    """Schema of every shard of an images table."""
    return schema_of(COLUMNS)


def key_of(path: str) -> int:
    """Key of an image's path."""
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big")


def cut(paths: Iterable[str]) -> Iterator[list[str]]:
    """Distinct paths in the order of their keys, cut into shards' worth."""
    shard: list[str] = []
    for key, path in sorted((key_of(path), path) for path in set(paths)):
        if shard and (key % SHARD_IMAGES == 0 or len(shard) == MAX_SHARD_IMAGES):
            yield shard
            shard = []
        shard.append(path)
    if shard:
        yield shard


def image_batches(images: Iterable[tuple[str, StoredImage]]) -> Iterator[pa.RecordBatch]:
    """Stored images as record batches.

    Args:
        images: path and image, in the order of their keys.
    """
    rows: list[tuple[Any, ...]] = []
    held = 0
    for path, image in images:
        geometry, window = image.geometry, image.window
        rows.append(
            (
                key_of(path), path, {"bytes": image.data, "path": path}, *geometry.canvas, *geometry.source,
                *geometry.offset, *geometry.content, window.method, window.low, window.high, window.inverted,
                image.content, image.perceptual,
            )
        )  # fmt: skip
        held += len(image.data)
        if held >= _BATCH_BYTES:
            yield _batch(rows)
            rows, held = [], 0
    if rows:
        yield _batch(rows)


def _batch(rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    columns = [pa.array(values, kind) for values, (_, kind) in zip(zip(*rows, strict=True), COLUMNS, strict=True)]
    return pa.record_batch(columns, schema=image_schema())


@dataclass(frozen=True)
class _Held:
    """One record batch of an images table, and what is read of it all the time."""

    batch: pa.RecordBatch
    keys: np.ndarray[Any, np.dtype[np.uint64]]
    paths: pa.StringArray
    offsets: np.ndarray[Any, np.dtype[np.int32]]
    data: pa.Buffer


class ImageTable:
    """The images of one source, memory-mapped: nothing of them is read before it is asked for, and nothing copied.

    Args:
        files: the shards of the table, in order.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self._held: list[_Held] = []
        for file in files:
            with open_shard(file) as shard:
                self._held += [_hold(batch) for batch in shard if len(batch)]
        self._firsts = [int(held.keys[0]) for held in self._held]

    def __len__(self) -> int:
        return sum(len(held.keys) for held in self._held)

    def __contains__(self, path: str) -> bool:
        return self._find(path) is not None

    def data(self, path: str) -> pa.Buffer:
        """The image file of a path: a view of the mapped file, not a copy.

        Raises:
            KeyError: the table does not hold it.
        """
        held, row = self._at(path)
        first, last = int(held.offsets[row]), int(held.offsets[row + 1])
        return held.data.slice(first, last - first)

    def geometry(self, path: str) -> Geometry:
        """From the published image to the stored one.

        Raises:
            KeyError: the table does not hold it.
        """
        held, row = self._at(path)
        value = {name: held.batch.column(name)[row].as_py() for name, kind in COLUMNS if kind == pa.int32()}
        return Geometry(
            (value["source_width"], value["source_height"]),
            (value["content_width"], value["content_height"]),
            (value["width"], value["height"]),
            (value["content_x"], value["content_y"]),
        )

    def _at(self, path: str) -> tuple[_Held, int]:
        found = self._find(path)
        if found is None:
            raise KeyError(path)
        return found

    def _find(self, path: str) -> tuple[_Held, int] | None:
        key = key_of(path)
        # Should two paths ever share a key, they are neighbours, perhaps in two batches.
        number = bisect_right(self._firsts, key) - 1
        while number >= 0:
            held = self._held[number]
            row = int(np.searchsorted(held.keys, np.uint64(key), side="right")) - 1
            while row >= 0 and held.keys[row] == key:
                if held.paths[row].as_py() == path:
                    return held, row
                row -= 1
            if row >= 0:
                return None
            number -= 1
        return None


def _hold(batch: pa.RecordBatch) -> _Held:
    images = batch.column("image")
    _, offsets, data = images.field(0).buffers()
    return _Held(
        batch,
        batch.column("key").to_numpy(zero_copy_only=True),
        batch.column("path"),
        np.frombuffer(offsets, np.int32),
        data,
    )
