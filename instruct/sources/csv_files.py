"""Reading published CSV files, with errors that name the file, the line and what was expected."""

from __future__ import annotations

import csv as rows_csv
import gzip
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from instruct.errors import DataError

# What Arrow, which counts no blank lines, says in some messages.
_ROW = re.compile(r"Row #\d+: ")
# What a file that is missing, cut off, damaged or of another encoding raises.
_UNREADABLE = (OSError, EOFError, UnicodeDecodeError, zlib.error)


def read_csv(
    path: Path,
    columns: Mapping[str, pa.DataType],
    *,
    optional: Mapping[str, pa.DataType] | None = None,
    delimiter: str = ",",
    header: bool = True,
    names: Sequence[str] | None = None,
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
        names: names of all the file's columns, in place of those in its first line.

    Raises:
        DataError: the file cannot be parsed, a column is missing, or a cell is not of its type.
    """
    sheet = _sheet(path, columns, optional or {}, delimiter, header, names)
    with sheet.faults():
        table = csv.read_csv(path, **sheet.options)
    return sheet.declared(table)


def iter_csv(path: Path, columns: Mapping[str, pa.DataType]) -> Iterator[pa.Table]:
    """Read some columns of a CSV file with a header piece by piece, as :func:`read_csv` reads them at once.

    Raises:
        DataError: as :func:`read_csv`, when the piece is asked for.
    """
    sheet = _sheet(path, columns, {}, ",", True, None)
    with sheet.faults():
        for batch in csv.open_csv(path, **sheet.options):
            yield sheet.declared(pa.Table.from_batches([batch]))


@dataclass(frozen=True)
class _Sheet:
    """How a CSV file is read.

    Attributes:
        path: the file.
        wanted: the columns wanted and their types.
        raw_names: what those that are there are called in the file.
        names: names of all columns; None where the first line has them.
        header: whether the first line names the columns.
        options: what Arrow is told.
    """

    path: Path
    wanted: Mapping[str, pa.DataType]
    raw_names: Mapping[str, str]
    names: Sequence[str] | None
    header: bool
    options: Mapping[str, Any]

    def declared(self, table: pa.Table) -> pa.Table:
        """What was read, with the columns wanted."""
        arrays = []
        for name, kind in self.wanted.items():
            if name not in self.raw_names:
                arrays.append(pa.nulls(len(table), kind))
                continue
            values = table[self.raw_names[name]]
            if pa.types.is_string(kind) and not all(_is_trimmed(chunk) for chunk in values.chunks):
                values = pc.utf8_trim_whitespace(values)
                values = pc.if_else(pc.equal(values, ""), None, values)
            arrays.append(values)
        return pa.table(arrays, schema=pa.schema(list(self.wanted.items())))

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Tell what cannot be read with its line."""
        try:
            yield
        except (pa.ArrowInvalid, OSError) as error:
            types = self.options["convert_options"].column_types
            delimiter = self.options["parse_options"].delimiter
            line = _line_of_fault(self.path, delimiter, self.names, types, self.header)
            told = _ROW.sub("", str(error).removeprefix("CSV parse error: "))
            mend = "; get it again" if "Truncated compressed stream" in told else ""
            raise DataError(f"{self.path}{line}: {told}{mend}") from None


def _sheet(
    path: Path,
    columns: Mapping[str, pa.DataType],
    optional: Mapping[str, pa.DataType],
    delimiter: str,
    header: bool,
    names: Sequence[str] | None,
) -> _Sheet:
    wanted = {**columns, **optional}
    if header:
        given = csv_columns(path, delimiter) if names is None else {name: name for name in names}
        missing = [name for name in columns if name not in given]
        if missing:
            raise DataError(f"{path}:1: no column {', '.join(missing)}; the file has {', '.join(given)}")
        raw_names = {name: raw for name, raw in given.items() if name in wanted}
    else:
        raw_names = {name: name for name in columns}
    types = {raw: wanted[name] for name, raw in raw_names.items()}
    every = (names and list(names)) if header else list(columns)
    options = {
        "read_options": csv.ReadOptions(column_names=every, skip_rows=int(names is not None), block_size=4 << 20),
        "parse_options": csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        "convert_options": csv.ConvertOptions(
            column_types=types, include_columns=list(types), null_values=[""], strings_can_be_null=True
        ),
    }
    return _Sheet(path, wanted, raw_names, names if header else list(columns), header, options)


def _is_trimmed(texts: pa.StringArray) -> bool:
    """Whether no text is empty or could have white space at an end: nearly always so, and quicker seen than trimmed."""
    _, offsets, data = texts.buffers()
    if data is None:
        return bool(texts.null_count == len(texts))
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    filled = bounds[1:] > bounds[:-1]
    if len(texts) - np.count_nonzero(filled) != texts.null_count:
        return False
    starts, ends = (bounds[:-1], bounds[1:]) if not texts.null_count else (bounds[:-1][filled], bounds[1:][filled])
    letters = np.frombuffer(data, np.uint8)
    # White space is a control character or blank, or not ASCII.
    return all(bool((edge - np.uint8(33) < 95).all()) for edge in (letters.take(starts), letters.take(ends - 1)))


def _line_of_fault(
    path: Path, delimiter: str, names: Sequence[str] | None, types: Mapping[str, pa.DataType], header: bool
) -> str:
    """``:line`` of the first row that lacks a cell, has one too many or one that is no number; empty if not found.

    Only a file that could not be read is gone through this way, row by row.
    """
    try:
        with _open_text(path) as file:
            rows = rows_csv.reader(file, delimiter=delimiter)
            first = next(rows, []) if header else []
            names = first if names is None else names
            numbers = {
                index: int if pa.types.is_integer(types[name]) else float
                for index, name in enumerate(names)
                if name in types and (pa.types.is_integer(types[name]) or pa.types.is_floating(types[name]))
            }
            for row in rows:
                if row and (len(row) != len(names) or not all(_is(kind, row[at]) for at, kind in numbers.items())):
                    return f":{rows.line_num}"
    except (*_UNREADABLE, rows_csv.Error):
        return ""
    return ""


def _is(kind: type[int] | type[float], cell: str) -> bool:
    try:
        kind(cell or 0)
    except ValueError:
        return False
    return True


def _open_text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def csv_columns(path: Path, delimiter: str = ",") -> dict[str, str]:
    """Columns of a CSV file: trimmed name to the name as it stands."""
    try:
        with _open_text(path) as file:
            head = file.readline()
    except _UNREADABLE as error:
        raise DataError(f"{path}:1: cannot be read: {error}") from None
    if not head.strip():
        raise DataError(f"{path}:1: expected the names of columns, found nothing")
    names = next(rows_csv.reader([head], delimiter=delimiter))
    return {name.strip(): name for name in names}


def refuse(path: Path, wrong: Any, message: Callable[[int], str]) -> None:
    """Stop at the first row of a CSV file that is wrong.

    Args:
        path: the file, one line per row below a header.
        wrong: a truth value per row; null is not wrong.
        message: from the row's index to what is wrong with it, and what was expected.

    Raises:
        DataError: a row is wrong.
    """
    if pc.any(wrong).as_py():
        row = int(pc.index(wrong, True).as_py())
        raise DataError(f"{path}:{row + 2}: {message(row)}")


def refuse_others(path: Path, table: pa.Table, names: Iterable[str], allowed: Sequence[int | None]) -> None:
    """Stop at the first row of a CSV file where a column holds another number than it may.

    Args:
        path: the file, one line per row below a header.
        table: what was read of it.
        names: columns of numbers.
        allowed: the numbers they may hold, and None where a cell may be blank.

    Raises:
        DataError: another number stands there.
    """
    *most, last = ("blank" if value is None else str(value) for value in allowed)
    for name in names:
        row = pc.index(pc.is_in(table[name], pa.array(allowed, table[name].type)), False).as_py()
        if row >= 0:
            value = table[name][row].as_py()
            told = "blank" if value is None else f"{value:g}"
            raise DataError(f"{path}:{row + 2}: {name} is {told}; expected {', '.join(most)} or {last}")


def refuse_repeated(path: Path, values: pa.Array, what: str) -> None:
    """Stop if a value stands in two rows of a CSV file.

    Raises:
        DataError: it does; the message names the second line.
    """
    if pc.count_distinct(values).as_py() == len(values):
        return
    seen: set[str] = set()
    for row, value in enumerate(values.to_pylist()):
        if value in seen:
            raise DataError(f"{path}:{row + 2}: {what} {value} stands twice; expected one row for each {what}")
        seen.add(value)
