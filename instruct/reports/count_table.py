"""The count table: in the published shape, as CSV and JSON, and beside the published figures.

The published table is the ``DATA.md`` of CheXinstruct: 55 rows "[Task] [Dataset]", nine columns, a Total row that adds
examples and takes unions for images and studies.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from instruct.build.counts import Count, Counts
from instruct.errors import DataError
from instruct.reports.markdown import Table
from instruct.specs.task_spec import SPLITS

TITLE = "# Instruction Tuning Data for CXR"
TOTAL = "Total"

# Column of the table to split and field of Count, in the published order.
_FIELDS = {"": "examples", "images": "images", "studies": "studies"}
COLUMNS = tuple((kind, split) for kind in _FIELDS for split in SPLITS)


def column_title(kind: str, split: str) -> str:
    """Head of a column, as published: ``train``, ``images (train)``."""
    return f"{kind} ({split})" if kind else split


def column_key(kind: str, split: str) -> str:
    """Name of a column in CSV and JSON: ``train``, ``images_train``."""
    return f"{kind}_{split}" if kind else split


def cells(row: Mapping[str, Count]) -> list[int]:
    """The nine numbers of a row."""
    return [getattr(row.get(split, Count()), _FIELDS[kind]) for kind, split in COLUMNS]


def to_markdown(counts: Counts, absent: Mapping[str, Sequence[str]] | None = None) -> str:
    """The table in exactly the published shape.

    Args:
        counts: the numbers.
        absent: row name to the sources it lacks, for the footnote under the table.
    """
    titles = [column_title(kind, split) for kind, split in COLUMNS]
    total = [f"{number:,}" for number in cells(counts.total)]
    lines = [TITLE, "", "## Data Summary", ""]
    lines += _table(["", TOTAL], [[title, number] for title, number in zip(titles, total, strict=True)])
    lines += ["", "## All the datasets", ""]
    rows = [[name, *(f"{number:,}" for number in cells(row))] for name, row in _in_order(counts)]
    lines += _table(["", *titles], [*rows, [TOTAL, *total]])
    if absent:
        sources = ", ".join(sorted({name for names in absent.values() for name in names}))
        lines += ["", f"Rows of zeros without data: these sources were not on disk: {sources}."]
    return "\n".join(lines) + "\n"


def to_table(counts: Counts) -> Table:
    """The table for a terminal."""
    heads = ["", *(column_title(kind, split) for kind, split in COLUMNS)]
    rows = [[name, *cells(row)] for name, row in _in_order(counts)]
    return Table("Count table", heads, [*rows, [TOTAL, *cells(counts.total)]])


def _in_order(counts: Counts) -> list[tuple[str, dict[str, Count]]]:
    """Rows as the published table orders them; rows it does not have come after, as they stand."""
    places = {name: place for place, name in enumerate(published())}
    return sorted(counts.rows.items(), key=lambda row: places.get(row[0], len(places)))


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    # Heads are two wider than their text, as in the published file.
    widths = [max(len(head) + 2 if head else 0, *(len(row[index]) for row in rows)) for index, head in enumerate(heads)]

    def line(texts: Sequence[str]) -> str:
        return "| " + " | ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)) + " |"

    return [line(heads), "|" + "|".join(":" + "-" * (width + 1) for width in widths) + "|", *map(line, rows)]


def to_csv(counts: Counts) -> str:
    """The table as CSV with the columns task, dataset and the nine numbers; the last row is Total."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["task", "dataset", *(column_key(kind, split) for kind, split in COLUMNS)])
    for name, row in _in_order(counts):
        writer.writerow([*split_name(name), *cells(row)])
    writer.writerow([TOTAL, "", *cells(counts.total)])
    return out.getvalue()


def to_json(counts: Counts) -> dict[str, object]:
    """The table as plain data: ``{"rows": {name: {column: number}}, "total": {column: number}}``."""

    def numbers(row: Mapping[str, Count]) -> dict[str, int]:
        return {column_key(kind, split): value for (kind, split), value in zip(COLUMNS, cells(row), strict=True)}

    return {"rows": {name: numbers(row) for name, row in _in_order(counts)}, "total": numbers(counts.total)}


def planted_counts(planted: Mapping[str, Mapping[str, Any]]) -> Counts:
    """The numbers a synthetic corpus was given, as counts; its rows are not unions, so there is no Total."""
    return Counts(
        {
            name: {split: Count(item.examples, item.images, item.studies) for split, item in row.items()}
            for name, row in planted.items()
        }
    )


def split_name(name: str) -> tuple[str, str]:
    """Task and dataset of a row's name ``[Task] [Dataset]``."""
    task, _, dataset = name.removeprefix("[").removesuffix("]").partition("] [")
    return task, dataset


def read_csv(path: Path) -> dict[str, list[int]]:
    """Read a count table in CSV form: row name to its nine numbers.

    Raises:
        DataError: the file cannot be read, a column is missing, or a cell is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return _read_csv(path.name, file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _read_csv(name: str, lines: Iterable[str]) -> dict[str, list[int]]:
    reader = csv.DictReader(lines)
    keys = [column_key(kind, split) for kind, split in COLUMNS]
    missing = [key for key in ("task", "dataset", *keys) if key not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"{name}:1: a count table has the columns task, dataset, {', '.join(keys)}; missing: {', '.join(missing)}"
        )
    table = {}
    for row in reader:
        label = f"[{row['task']}] [{row['dataset']}]" if row["dataset"] else row["task"]
        try:
            table[label] = [int(row[key] or "") for key in keys]
        except ValueError as error:
            raise DataError(f"{name}:{reader.line_num}: {label}: {error}") from None
    return table


@cache
def published() -> dict[str, list[int]]:
    """The published table: 55 rows and Total."""
    data = files("instruct.reports") / "data" / "published_counts.csv"
    return _read_csv("published_counts.csv", data.read_text("utf-8").splitlines())


@cache
def defects() -> dict[tuple[str, str], str]:
    """Known defects of the published table: (row name, column key) to why the figure is not the right one."""
    data = files("instruct.reports") / "data" / "published_defects.csv"
    rows = csv.DictReader(data.read_text("utf-8").splitlines())
    return {
        (f"[{row['task']}] [{row['dataset']}]" if row["dataset"] else row["task"], column): row["explanation"]
        for row in rows
        for column in row["column"].split()
    }


@dataclass(frozen=True)
class Difference:
    """A cell that differs from the one it is compared with.

    Attributes:
        row: name of the row.
        column: head of the column.
        ours: our number.
        theirs: the other number.
        explanation: the known defect of the published table behind it; empty if none is known.
    """

    row: str
    column: str
    ours: int
    theirs: int
    explanation: str


def compare(counts: Counts, table: Mapping[str, Sequence[int]]) -> list[Difference]:
    """Cells of ours that differ from another table's, row by row; rows that the other lacks are left out.

    The Total is compared where every row of the other table that counts something does so in ours, too.

    Args:
        counts: our numbers.
        table: row name to nine numbers, as :func:`read_csv` and :func:`published` give.
    """
    known = _defects_of(table)
    differences = []
    total = [] if _lacking(counts, table) else [(TOTAL, counts.total)]
    for name, row in [*counts.rows.items(), *total]:
        if name not in table:
            continue
        for (kind, split), ours, theirs in zip(COLUMNS, cells(row), table[name], strict=True):
            if ours != theirs:
                explanation = known.get((name, column_key(kind, split)), "")
                differences.append(Difference(name, column_title(kind, split), ours, theirs, explanation))
    return differences


def _lacking(counts: Counts, table: Mapping[str, Sequence[int]]) -> list[str]:
    """Rows of another table that count something there and nothing in ours."""
    ours = {name for name, row in counts.rows.items() if any(cells(row))}
    return [name for name, numbers in table.items() if name != TOTAL and any(numbers) and name not in ours]


def _defects_of(table: Mapping[str, Sequence[int]]) -> dict[tuple[str, str], str]:
    """Known defects that apply to a table: those of cells that hold the published figure."""
    keys = [column_key(kind, split) for kind, split in COLUMNS]
    return {
        (name, key): text
        for (name, key), text in defects().items()
        if name in table and table[name][keys.index(key)] == published()[name][keys.index(key)]
    }


def comparison_markdown(counts: Counts, table: Mapping[str, Sequence[int]], differences: Sequence[Difference]) -> str:
    """Differences as a table, with what explains them below."""
    rows_compared = sum(name in table for name in counts.rows)
    same = rows_compared * len(COLUMNS) - sum(item.row != TOTAL for item in differences)
    lines = [f"{rows_compared} rows compared: {same:,} cells equal, {rows_compared * len(COLUMNS) - same:,} differ."]
    if TOTAL in table and (lacking := _lacking(counts, table)):
        lines[0] += f" The Total is not: {len(lacking)} rows of the other table count nothing here."
    if differences:
        rows = [
            [
                item.row,
                item.column,
                f"{item.ours:,}",
                f"{item.theirs:,}",
                f"{item.ours - item.theirs:+,}",
                "known defect" if item.explanation else "",
            ]
            for item in differences
        ]
        lines += ["", *_table(["row", "column", "ours", "published", "difference", "note"], rows)]
    explained = [item for item in differences if item.explanation]
    if explained:
        lines += ["", "Known defects of the published table:", ""]
        cells: dict[str, dict[str, list[str]]] = {}
        for item in explained:
            cells.setdefault(item.explanation, {}).setdefault(item.row, []).append(item.column)
        for explanation, rows_told in cells.items():
            told = "; ".join(f"{row}, {', '.join(columns)}" for row, columns in rows_told.items())
            lines.append(f"- {told}: {explanation}")
    return "\n".join(lines) + "\n"
