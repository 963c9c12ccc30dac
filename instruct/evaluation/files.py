"""Rows of JSON, JSONL, CSV and Parquet files, each with its place for messages."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct.errors import DataError

_LONGEST_CELL = 1 << 28


@dataclass(frozen=True)
class Row:
    """One record of a file.

    Attributes:
        place: ``file:line``, or ``file: key 'x'`` in a JSON object.
        fields: the record; a file that maps an id to a bare text gives ``{"id": …, "text": …}``.
    """

    place: str
    fields: Mapping[str, Any]


def read_rows(path: Path) -> list[Row]:
    """All records of a file, by its suffix: ``.json``, ``.jsonl``, ``.csv`` or ``.parquet``.

    A JSON file is an object of id → record (or text, or a list of one text) or a list of records; bare ``NaN`` is
    read as the missing value it stands for.

    Raises:
        DataError: the file is absent, not of that format, or not UTF-8.
    """
    readers = {".json": _json, ".jsonl": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of file; expected {', '.join(readers)}")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return list(reader(path))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text at byte {error.start}; save the file as UTF-8") from None


def identity(row: Row) -> str:
    """The row's ``id`` or ``study_id`` as text.

    Raises:
        DataError: the row has neither, or it is not a text or an integer.
    """
    for name in ("id", "study_id"):
        if name in row.fields:
            value = row.fields[name]
            if isinstance(value, str) and value.strip():
                return unicode_text(row, name, value)
            if isinstance(value, int) and not isinstance(value, bool):
                return str(value)
            raise DataError(f"{row.place}: {name} is {value!r}; expected a text or an integer")
    raise DataError(f"{row.place}: no id; expected a field 'id' or 'study_id', found {', '.join(row.fields)}")


def unicode_text(row: Row, name: str, text: str) -> str:
    """The text itself.

    Raises:
        DataError: it holds half of a surrogate pair, which JSON can escape and no UTF-8 file or tokenizer takes.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{row.place}: {name} is no valid Unicode at character {error.start} (half of a surrogate pair); "
            "write the character whole, or U+FFFD for it"
        ) from None
    return text


def _json(path: Path) -> Iterator[Row]:
    text = path.read_text(encoding="utf-8-sig")
    try:
        value = json.loads(text, object_pairs_hook=_no_repeats)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}") from None
    except _Repeated as error:
        raise DataError(f"{path}: key {error.key!r} occurs twice in one object; every id must be unique") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: JSON that cannot be read: {error}") from None
    if isinstance(value, list):
        for position, record in enumerate(value):
            yield _record(f"{path}: record {position}", record)
    elif isinstance(value, dict):
        for key, record in value.items():
            place = f"{path}: key {key!r}"
            if isinstance(record, dict):
                yield Row(place, {**record, "id": key})
            else:
                yield Row(place, {"id": key, "text": record})
    else:
        raise DataError(f"{path}: expected an object of id → record or a list of records")


def _jsonl(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line, object_pairs_hook=_no_repeats)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}:{error.colno}: not valid JSON: {error.msg}") from None
            except _Repeated as error:
                raise DataError(f"{path}:{number}: key {error.key!r} occurs twice") from None
            except (ValueError, RecursionError) as error:
                raise DataError(f"{path}:{number}: JSON that cannot be read: {error}") from None
            yield _record(f"{path}:{number}", record)


def _csv(path: Path) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            columns = reader.fieldnames or ()
            if twice := [name for name, times in Counter(columns).items() if times > 1]:
                raise DataError(f"{path}:1: column {twice[0]!r} occurs twice; every column must have its own name")
            for record in reader:
                place = f"{path}:{reader.line_num}"
                if None in record or any(value is None for value in record.values()):
                    raise DataError(f"{place}: wrong number of cells; expected {len(columns)}")
                yield Row(place, {k: None if v in ("", "nan", "NaN") else v for k, v in record.items()})
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not valid CSV: {error}") from None


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        records = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a Parquet file, or a damaged one: {error}") from None
    for position, record in enumerate(records):
        yield Row(f"{path}: row {position}", record)


def _record(place: str, record: Any) -> Row:
    if not isinstance(record, dict):
        raise DataError(f"{place}: expected an object with an 'id', found {type(record).__name__}")
    return Row(place, record)


class _Repeated(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _no_repeats(items: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(items)
    if len(record) != len(items):
        seen: set[str] = set()
        for key, _ in items:
            if key in seen:
                raise _Repeated(key)
            seen.add(key)
    return record
