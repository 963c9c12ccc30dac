"""The rows that a record query gives: their types, and what no record may lack."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.specs.contract import CONTRACT_TYPES
from instruct.specs.task_spec import SPLITS, TaskEntry


def checked(
    entry: TaskEntry, query: duckdb.DuckDBPyRelation, batch_rows: int
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema and the rows of a query; the rows are checked as they come."""
    reader = query.to_arrow_reader(batch_rows)
    schema = pa.schema([(field.name, CONTRACT_TYPES.get(field.name, plain(field.type))) for field in reader.schema])

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            table = pa.Table.from_batches([batch]).cast(schema)
            _check(entry, table)
            yield from table.to_batches()

    return schema, rows()


def plain(kind: pa.DataType) -> pa.DataType:
    """The type with 32-bit texts and lists, whatever the engine chose."""
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(field.name, plain(field.type)) for field in kind])
    return kind


def _check(entry: TaskEntry, table: pa.Table) -> None:
    if table["id"].null_count:
        origin = table.filter(pc.is_null(table["id"]))["origin"][0].as_py()
        raise DataError(f"{entry.query_place()}: {entry.name}: the record from {origin} has no id")
    for split in pc.unique(table["split"]).to_pylist():
        if split not in SPLITS:
            row = table.filter(pc.equal(pc.fill_null(table["split"], ""), split or "")).slice(0, 1)
            raise DataError(
                f"{entry.query_place()}: {entry.name}: record {row['id'][0].as_py()!r} has split {split!r};"
                f" expected {', '.join(SPLITS)}"
            )
    for name in ("studies", "images"):
        if name in table.schema.names:
            _check_list(entry, table, name)


def _check_list(entry: TaskEntry, table: pa.Table, name: str) -> None:
    """Refuse a record whose list of studies or images is null, or holds a null."""
    lists = table[name]
    if not any(chunk.null_count or chunk.flatten().null_count for chunk in lists.chunks):
        return
    for identifier, items in zip(table["id"].to_pylist(), lists.to_pylist(), strict=True):
        if items is None or None in items:
            raise DataError(
                f"{entry.query_place()}: {entry.name}: record {identifier!r} has a null in its {name}; leave such rows"
                " out (WHERE ... IS NOT NULL)"
            )
