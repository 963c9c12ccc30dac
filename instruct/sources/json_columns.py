"""Members of a JSON object, ``{key: record, ...}``, as Arrow columns: read by DuckDB, with no Python object for any.

DuckDB is strict about a record's fields and lists, but makes a text of whatever stands where a text should. Where that
can have happened it is told, and the caller reads the text another way.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.buffers import first_bytes

KEY = "key"
_PIECES = pa.schema([("text", pa.string())])
# Rows of a batch.
_ROWS = 8192
# Batches made before they are asked for: DuckDB makes two at a time.
_AHEAD = 2
# What DuckDB makes a text of though it is none; numbers may stand for a text in some fields.
_NO_TEXT = r"(?s)^(true|false|-?Infinity|[\[{].*)$"
_NO_TEXT_NOR_NUMBER = r"(?s)^(true|false|-?Infinity|[\[{].*|-?\d[\d.eE+-]*)$"
_BEGINS_NO_TEXT, _BEGINS_NUMBER = b"tfI-[{", b"0123456789"
_NAN = "NaN"

_Item = TypeVar("_Item")


class DoubtedError(Exception):
    """What DuckDB gives can be doubted, or it failed in a way that it does not explain to a user."""


@dataclass(frozen=True)
class _Field:
    """A field of a record.

    Attributes:
        name: its name.
        listed: whether it is a list of texts.
        nullable: whether the text, or an item of the list, may be null.
        numbers: whether a number may stand for a text.
    """

    name: str
    listed: bool
    nullable: bool
    numbers: bool

    @classmethod
    def of(cls, field: msgspec.structs.FieldInfo) -> _Field:
        """A field of a :class:`msgspec.Struct`."""
        listed = get_origin(field.type) is list
        kind = get_args(field.type)[0] if listed else field.type
        kinds = get_args(kind) or (kind,)
        return cls(field.name, listed, NoneType in kinds, int in kinds)

    @property
    def arrow_type(self) -> pa.DataType:
        """Type of its column."""
        return pa.list_(pa.string()) if self.listed else pa.string()

    def settled(self, values: pa.Array) -> pa.Array:
        """The values as DuckDB gives them, with null for NaN.

        Raises:
            DoubtedError: some may not be what is written.
        """
        texts = values.flatten() if self.listed else values
        if (self.listed and values.null_count) or (texts.null_count and not self.nullable):
            raise DoubtedError
        begin = first_bytes(texts)
        suspect = _is_one_of(begin, _BEGINS_NO_TEXT if self.numbers else _BEGINS_NO_TEXT + _BEGINS_NUMBER)
        if suspect.any():
            pattern = _NO_TEXT if self.numbers else _NO_TEXT_NOR_NUMBER
            if pc.any(pc.match_substring_regex(texts.filter(pa.array(suspect)), pattern)).as_py():
                raise DoubtedError
        if not (begin == ord(_NAN[0])).any():
            return values
        if not self.nullable and pc.any(pc.equal(texts, _NAN)).as_py():
            raise DoubtedError
        return self.without_nan(values)

    def without_nan(self, values: pa.Array) -> pa.Array:
        """The values, with null for a text ``NaN`` wherever a null may be."""
        texts = values.flatten() if self.listed else values
        is_nan = pc.fill_null(pc.equal(texts, _NAN), False)
        if not self.nullable or not pc.any(is_nan).as_py():
            return values
        texts = pc.if_else(is_nan, pa.scalar(None, pa.string()), texts)
        return pa.ListArray.from_arrays(values.offsets, texts) if self.listed else texts


class MemberColumns:
    """Makes columns of members: ``key``, then one for each field of a record.

    Args:
        record: a :class:`msgspec.Struct` whose fields are texts, texts or numbers, or lists of texts.
    """

    def __init__(self, record: type[Any]) -> None:
        self._fields = [_Field.of(field) for field in msgspec.structs.fields(record)]
        self._schema = pa.schema([(KEY, pa.string()), *((field.name, field.arrow_type) for field in self._fields)])
        kinds = ", ".join(f'"{field.name}" VARCHAR{"[]" if field.listed else ""}' for field in self._fields)
        shape = json.dumps(f"MAP(VARCHAR, STRUCT({kinds}))").replace("'", "''")
        self._query = f"SELECT unnest(map_entries(from_json_strict(text, '{shape}'))) AS member FROM pieces"

    def read(self, pieces: Iterator[bytes]) -> Iterator[pa.RecordBatch]:
        """The members of some JSON objects; the next are read in a thread.

        Args:
            pieces: the texts of the objects.

        Raises:
            DoubtedError: a text is no such object, or what DuckDB makes of it can be doubted.
        """
        given = (pa.record_batch([_as_text(piece)], schema=_PIECES) for piece in pieces)
        with _database().cursor() as connection:
            connection.register("pieces", pa.RecordBatchReader.from_batches(_PIECES, given))
            try:
                # Closed before the connection, which a thread may still be reading from.
                with closing(_ahead(connection.sql(self._query).to_arrow_reader(_ROWS))) as batches:
                    for batch in batches:
                        yield self._settled(batch.column("member"))
            except (duckdb.Error, OSError, UnicodeDecodeError) as error:
                raise DoubtedError from error

    def _settled(self, members: pa.StructArray) -> pa.RecordBatch:
        keys, records = members.flatten()
        if records.null_count:
            raise DoubtedError
        columns = [field.settled(values) for field, values in zip(self._fields, records.flatten(), strict=True)]
        return pa.record_batch([keys, *columns], names=self._schema.names).cast(self._schema)

    def of(self, members: Mapping[str, Any]) -> pa.RecordBatch:
        """The columns of members that were read another way, as records."""
        columns = []
        for field in self._fields:
            values = [getattr(record, field.name) for record in members.values()]
            texts = values if field.listed else [_written(value) for value in values]
            columns.append(field.without_nan(pa.array(texts, field.arrow_type)))
        return pa.record_batch([pa.array(list(members), pa.string()), *columns], schema=self._schema)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """A database for the reading of every file: to open one takes as long as to read some thousand members."""
    return duckdb.connect(config={"threads": 1})


def _ahead(items: Iterator[_Item]) -> Generator[_Item]:
    """The same items, made in a thread while those before are used."""
    with ThreadPoolExecutor(1) as pool:
        coming = deque(pool.submit(next, items, None) for _ in range(_AHEAD))
        try:
            while (item := coming.popleft().result()) is not None:
                coming.append(pool.submit(next, items, None))
                yield item
        finally:
            for future in coming:
                future.cancel()


def _as_text(piece: bytes) -> pa.StringArray:
    offsets = np.array([0, len(piece)], np.int32)
    return pa.StringArray.from_buffers(1, pa.py_buffer(offsets), pa.py_buffer(piece))


def _is_one_of(begin: npt.NDArray[np.uint8], some: bytes) -> npt.NDArray[np.bool_]:
    table = np.zeros(256, bool)
    table[list(some)] = True
    return table[begin]


def _written(value: str | float | None) -> str | None:
    return value if value is None or isinstance(value, str) else str(value)
