"""Reading published JSON files, with errors that name the file, the line and what was expected."""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError

_Record = TypeVar("_Record")


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
            return loads_with_nan(content)
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: malformed JSON ({error.msg}); the file may be cut off") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def loads_with_nan(text: bytes) -> Any:
    """JSON by the standard library, which reads a bare NaN (as None) wherever it stands and says where a fault is.

    Raises:
        json.JSONDecodeError: the text is no JSON, nested too deep, holds a number of thousands of digits, or half of a
            surrogate pair, which is no text.
        UnicodeDecodeError: the text is not UTF-8.
    """
    try:
        value = json.loads(text, parse_constant=lambda _: None)
        if b"\\u" in text:
            orjson.dumps(value)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except (ValueError, RecursionError, orjson.JSONEncodeError) as error:
        half = re.search(r"\\u[dD][89a-fA-F]", text.decode())
        raise json.JSONDecodeError(str(error), text.decode(), half.start() if half else 0) from None
    return value


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSON lines file, each with its line number, from 1; blank lines are passed over.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    for number, line in _json_lines(path):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: malformed JSON: {error}") from None
        if not isinstance(value, dict):
            raise DataError(f"{path}:{number}: expected a JSON object, found {type(value).__name__}")
        yield number, value


def decode_json_lines(path: Path, record: type[_Record]) -> tuple[Sequence[int], list[_Record]]:
    """Records of a JSON lines file, and the number of each one's line, from 1; blank lines are passed over.

    This is faster than :func:`read_json_lines`, for fields that are not wanted are passed over.

    Args:
        path: the file.
        record: a :class:`msgspec.Struct` of the fields that are wanted.

    Raises:
        DataError: the file cannot be read, or a line is no such record.
    """
    decoder = msgspec.json.Decoder(record)
    try:
        content = path.read_bytes().removeprefix(BOM_UTF8)
        records = decoder.decode_lines(content)
        if len(records) == content.count(b"\n") + (not content.endswith(b"\n") and bool(content)):
            return range(1, len(records) + 1), records
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        pass  # told below, with its line
    numbers, records = [], []
    for number, line in _json_lines(path):
        try:
            records.append(decoder.decode(line))
        except msgspec.ValidationError as error:
            raise DataError(f"{path}:{number}: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise DataError(f"{path}:{number}: malformed JSON: {error}") from None
        numbers.append(number)
    return numbers, records


def _json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    with file:
        for number, line in enumerate(file, 1):
            said = line.removeprefix(BOM_UTF8) if number == 1 else line
            if said.strip():
                yield number, said


def origins(name: str, count: int, first: int = 1) -> pa.Array:
    """Provenance of rows: ``file:row``, rows counted from ``first``.

    Args:
        name: the file, below its source's root.
        count: number of rows.
        first: number of the first row.
    """
    rows = pa.array(np.arange(first, first + count)).cast(pa.string())
    return pc.binary_replace_slice(rows, 0, 0, f"{name}:")  # several times as fast as joining
