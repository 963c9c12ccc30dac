"""Rows of a part, by memory map: nothing is copied until a row is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from instruct.build.image_table import ImageTable
from instruct.build.schema import shard_schema
from instruct.mixture.index import Part
from instruct.shard import damaged, open_shard


class PartRows:
    """Random access to the rows of a part; pickles by opening its files again.

    ``rows[i]`` is row ``i`` of the part's shards (0 ≤ i < ``len(rows)`` = ``part.size``) as a dict of the shards'
    columns: id, task, dataset, images ``[{bytes, path}]``, messages, conversations, regions, options, answers, keys,
    provenance. Images open as they are: paths of a build with relative ones are joined with its image roots, and an
    image that the build packed comes with its bytes.

    Args:
        part: the part.

    Raises:
        DataError: a shard is missing or not the one that the build wrote.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self._batches = [batch for shard in part.shards for batch in _open(part, *shard)]
        self._starts = np.cumsum([0, *map(len, self._batches)])
        self._tables: dict[str, ImageTable] = {}

    def __reduce__(self) -> tuple[type[PartRows], tuple[Part]]:
        return (type(self), (self.part,))

    def __len__(self) -> int:
        """Rows of the part."""
        return self.part.size

    def __getitem__(self, row: int) -> dict[str, Any]:
        """A row.

        Raises:
            IndexError: the part has no such row.
        """
        found: dict[str, Any] = self._at(row).to_pylist()[0]
        for image, key in zip(found["images"], found["keys"]["images"], strict=True):
            if (table := self._reach(image, key)) is not None:
                image["bytes"] = table.data(_path(key)).to_pybytes()
        return found

    def lean(self, row: int) -> dict[str, Any]:
        """A row without a copy of its images, for what looks at texts and sizes only.

        An embedded image has a view of the shard as its ``bytes``. A packed one has none, but a ``size``: width and
        height, as the build wrote them down.

        Raises:
            IndexError: the part has no such row.
        """
        batch = self._at(row)
        names = [name for name in batch.schema.names if name != "images"]
        found: dict[str, Any] = batch.select(names).to_pylist()[0]
        images = batch.column("images").flatten()
        views = [value.as_buffer() if value.is_valid else None for value in pc.struct_field(images, "bytes")]
        paths = pc.struct_field(images, "path").to_pylist()
        found["images"] = [{"bytes": view, "path": path} for view, path in zip(views, paths, strict=True)]
        for image, key in zip(found["images"], found["keys"]["images"], strict=True):
            if (table := self._reach(image, key)) is not None:
                image["size"] = table.geometry(_path(key)).canvas
        return found

    def _at(self, row: int) -> pa.RecordBatch:
        if not 0 <= row < len(self):
            raise IndexError(f"{self.part.label} has {len(self)} rows, none with the number {row}")
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._batches[number].slice(row - int(self._starts[number]), 1)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> pa.Table:
        """Rows as a table, in the given order; image paths as they stand in the shards."""
        wanted = np.asarray(rows, dtype=np.int64)
        order = np.argsort(wanted, kind="stable")
        cuts = np.searchsorted(wanted[order], self._starts)
        # A batch at a time: taking from the whole table would first copy it into one piece.
        taken = [
            batch.take(pa.array(wanted[order[first:last]] - start))
            for batch, first, last, start in zip(self._batches, cuts[:-1], cuts[1:], self._starts[:-1], strict=True)
            if last > first
        ]
        if cuts[0] != 0 or cuts[-1] != len(wanted):
            raise IndexError(f"{self.part.label} has {len(self)} rows; others were asked for")
        if not taken:
            return self.table.slice(0, 0)
        back = np.empty(len(wanted), np.int64)
        back[order] = np.arange(len(wanted))
        return pa.Table.from_batches(taken).take(pa.array(back))

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of all rows, without a copy; image paths as they stand in the shards."""
        return self.table.column(name)

    @property
    def table(self) -> pa.Table:
        """All rows, without a copy; image paths as they stand in the shards."""
        return pa.Table.from_batches(self._batches) if self._batches else shard_schema().empty_table()

    def absolute_images(self) -> pa.ChunkedArray:
        """The column of images with absolute paths; a copy for builds with relative ones."""
        images = self.column("images")
        return (
            pa.chunked_array(
                [
                    _joined(chunk, keys, self.part.image_roots)
                    for chunk, keys in zip(
                        images.chunks, pc.struct_field(self.column("keys"), "images").chunks, strict=True
                    )
                ],
                images.type,
            )
            if self.part.image_roots
            else images
        )

    def _reach(self, image: dict[str, Any], key: str) -> ImageTable | None:
        """Make a relative path absolute; the table that holds a packed image."""
        source = key.partition("/")[0]
        if source in self.part.image_roots:
            image["path"] = f"{self.part.image_roots[source]}/{_path(key)}"
        return self._table(source) if source in self.part.image_tables else None

    def _table(self, source: str) -> ImageTable:
        if source not in self._tables:
            files = [self.part.folder / name for name in self.part.image_tables[source]]
            self._tables[source] = ImageTable(files)
        return self._tables[source]


def _path(key: str) -> str:
    return key.partition("/")[2]


def _joined(images: pa.ListArray, keys: pa.ListArray, roots: dict[str, str]) -> pa.ListArray:
    flat = images.flatten()
    given = pc.struct_field(flat, "path")
    paths = given
    names = pc.replace_substring_regex(keys.flatten(), "/.*", "")
    for name, root in roots.items():
        paths = pc.if_else(pc.equal(names, name), pc.binary_join_element_wise(root, given, "/"), paths)
    joined = pa.StructArray.from_arrays([pc.struct_field(flat, "bytes"), paths], fields=list(flat.type))
    lengths = np.asarray(pc.list_value_length(images))
    return pa.ListArray.from_arrays(pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)), joined)


def _open(part: Part, name: str, rows: int, size: int) -> list[pa.RecordBatch]:
    file = part.folder / name
    with open_shard(file, size) as shard:
        batches: list[pa.RecordBatch] = shard.read_all().to_batches()
    if sum(map(len, batches)) != rows:
        raise damaged(file)
    return batches


def open_rows(part: Part) -> PartRows:
    """Open a part's shards; see :class:`PartRows`.

    Raises:
        DataError: a shard is missing or not the one that the build wrote.
    """
    return PartRows(part)
