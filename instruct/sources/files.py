"""Reading published CSV and JSON files, with errors that name the file, the line and what was expected."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from instruct.errors import DataError


def read_csv(
    path: Path,
    columns: Mapping[str, pa.DataType],
    *,
    optional: Mapping[str, pa.DataType] | None = None,
    delimiter: str = ",",
    header: bool = True,
) -> pa.Table:
    """Read some columns of a CSV file (or ``.csv.gz``), each as the type it is declared to have.

    Blank cells are null, in text columns too; names and texts are trimmed of surrounding blanks. Quoted cells may hold
    line breaks.

    Args:
        path: the file.
        columns: columns that must be there, in the order wanted; without a header, the file's columns in order.
        optional: columns that may be missing; they then come as nulls.
        delimiter: what separates cells.
        header: whether the first line names the columns.

    Raises:
        DataError: the file cannot be parsed, a column is missing, or a cell is not of its type.
    """
    wanted = {**columns, **(optional or {})}
    if header:
        given = csv_columns(path, delimiter)
        missing = [name for name in columns if name not in given]
        if missing:
            raise DataError(f"{path}:1: no column {', '.join(missing)}; the file has {', '.join(given)}")
        names = {name: raw for name, raw in given.items() if name in wanted}
    else:
        names = {name: name for name in columns}
    types = {raw: wanted[name] for name, raw in names.items()}
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=None if header else list(columns), block_size=4 << 20),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=True
            ),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: {str(error).removeprefix('CSV parse error: ')}") from None
    arrays = []
    for name, kind in wanted.items():
        if name not in names:
            arrays.append(pa.nulls(len(table), kind))
            continue
        values = table[names[name]]
        if pa.types.is_string(kind):
            values = pc.utf8_trim_whitespace(values)
            values = pc.if_else(pc.equal(values, ""), None, values)
        arrays.append(values)
    return pa.table(arrays, schema=pa.schema(list(wanted.items())))


def csv_columns(path: Path, delimiter: str = ",") -> dict[str, str]:
    """Columns of a CSV file: trimmed name to the name as it stands."""
    try:
        with gzip.open(path, "rt", encoding="utf-8-sig") if path.suffix == ".gz" else path.open(
            encoding="utf-8-sig"
        ) as file:
            head = file.readline()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path}:1: cannot be read: {error}") from None
    parsed = csv.read_csv(
        pa.py_buffer(head.encode() or b"\n"),
        read_options=csv.ReadOptions(autogenerate_column_names=True),
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(strings_can_be_null=False),
    )
    names = ["" if value is None else str(value) for value in parsed.to_pylist()[0].values()] if len(parsed) else []
    return {name.strip(): name for name in names}


def read_json(path: Path) -> Any:
    """Read a JSON file; a bare NaN is None.

    Raises:
        DataError: the file is not JSON.
    """
    try:
        content = path.read_bytes()
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError:
            return json.loads(content, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: malformed JSON ({error.msg}); the file may be cut off") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSON lines file, each with its line number, from 1; blank lines are passed over.

    Raises:
        DataError: a line is no JSON object.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: malformed JSON: {error}") from None
            if not isinstance(value, dict):
                raise DataError(f"{path}:{number}: expected a JSON object, found {type(value).__name__}")
            yield number, value


def origins(name: str, count: int, first: int = 1) -> pa.Array:
    """Provenance of rows: ``file:row``, rows counted from ``first``.

    Args:
        name: the file, below its source's root.
        count: number of rows.
        first: number of the first row.
    """
    rows = pa.array(range(first, first + count), pa.int64()).cast(pa.string())
    return pc.binary_join_element_wise(pa.scalar(name), rows, ":")
