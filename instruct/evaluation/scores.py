"""Per-study scores made elsewhere (or by an earlier run), imported for any metric."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from instruct.digest import digest_file
from instruct.errors import DataError
from instruct.evaluation.files import Row, identity, read_rows
from instruct.evaluation.metric import Column, Values, is_missing
from instruct.evaluation.pairs import Group, group_of

_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ScoreFile:
    """Columns of one imported file.

    Attributes:
        name: file name, without folders.
        digest: SHA-256 of the file.
        keys: group and id of every row; the group is None where the file names no task, dataset or split.
        columns: column name to values in row order, NaN for null; shape (n,) or (n, width).
        ignored: fields of the file that are no metric's column.
    """

    name: str
    digest: str
    keys: tuple[tuple[Group | None, str], ...]
    columns: Mapping[str, Values]
    ignored: tuple[str, ...]

    def check_ids(self, given: Mapping[Group, Sequence[str]], using: Mapping[Group, Sequence[str]]) -> None:
        """Check that every row is of one study.

        Args:
            given: ids of every part.
            using: ids of the parts that take columns of this file.

        Raises:
            DataError: a row belongs to no given study, or to studies of several parts.
        """
        known = {(where, study) for group, studies in given.items() for study in studies for where in (None, group)}
        if foreign := [study for where, study in self.keys if (where, study) not in known]:
            raise DataError(f"{self.name}: {len(foreign)} studies have a row but no prediction: {_first(foreign)}")
        named = {study for where, study in self.keys if where is None}
        times = Counter(study for studies in using.values() for study in studies)
        if several := [study for study in times if times[study] > 1 and study in named]:
            raise DataError(
                f"{self.name}: {len(several)} ids are in several parts ({'; '.join(map(str, using))}): "
                f"{_first(several)}; add task, dataset and split to the rows"
            )

    def for_ids(self, group: Group, wanted: Sequence[str]) -> dict[str, Values]:
        """The columns for the wanted studies, in their order.

        Args:
            group: the group of the studies; a file that names groups is read for this one only.
            wanted: ids that must have a row.

        Raises:
            DataError: a wanted study has no row.
        """
        place = {study: row for row, (where, study) in enumerate(self.keys) if where in (None, group)}
        if lost := [study for study in wanted if study not in place]:
            raise DataError(
                f"{self.name}: {len(lost)} studies of {group} have no row: {_first(lost)}; expected one row per "
                "scored study, null where it has none"
            )
        rows = [place[study] for study in wanted]
        return {name: values[rows] for name, values in self.columns.items()}

    def nothing_to_compare(self) -> DataError:
        """The error to raise where a comparison finds no common scores."""
        return DataError(f"{self.name}: none of this report's scores are in the file; nothing to compare")


def _first(studies: Sequence[str]) -> str:
    return ", ".join(studies[:5]) + (" …" if len(studies) > 5 else "")


def read_scores(path: str | Path, columns: Iterable[Column]) -> ScoreFile:
    """Read a file of per-study scores: ``.jsonl``, ``.json``, ``.csv`` or ``.parquet``.

    Every row has ``id`` (or ``study_id``) and one field per column; fields that are no column are named in
    ``ignored``. The official tool's column names (``bleu_score``, ``semb_score``, ``radgraph_combined`` …) count too.

    Args:
        path: the file.
        columns: every column that some metric has.

    Raises:
        DataError: no field is a column, an id repeats, or a value is no number or out of the column's range.
    """
    path = Path(path)
    rows = read_rows(path)
    if not rows:
        raise DataError(f"{path}: no scores in the file")
    known = {name: column for column in columns for name in (column.name, *column.aliases) if column.width}
    fields = list(dict.fromkeys(name for row in rows for name in row.fields))
    found: dict[str, str] = {}
    for name in fields:
        if name in known:
            if known[name].name in found:
                raise DataError(f"{path}: {found[known[name].name]!r} and {name!r} are the same column")
            found[known[name].name] = name
    if not found:
        names = ", ".join(sorted({column.name for column in known.values()}))
        raise DataError(f"{path}: no known score column among {', '.join(fields)}; expected one of {names}")
    grouped = any(name in row.fields for row in rows for name in Group._fields)
    keys = tuple((group_of(row.fields) if grouped else None, identity(row)) for row in rows)
    if len(set(keys)) != len(keys):
        repeated = {key for key, count in Counter(keys).items() if count > 1}
        twice = [row for row, key in zip(rows, keys, strict=True) if key in repeated][1]
        raise DataError(f"{twice.place}: id {identity(twice)!r} occurs twice; expected one row per study")
    values = {
        name: np.array([_value(row, field, known[field]) for row in rows], dtype=np.float64)
        for name, field in found.items()
    }
    ignored = tuple(name for name in fields if name not in known and name not in ("id", "study_id", *Group._fields))
    return ScoreFile(path.name, digest_file(path), keys, values, ignored)


def _value(row: Row, field: str, column: Column) -> Any:
    value: Any = row.fields.get(field)
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise DataError(f"{row.place}: {field} is {value!r}; expected a number") from None
    if is_missing(value):
        return np.nan if column.width == 1 else [np.nan] * column.width
    parts = value if isinstance(value, list) else [value]
    if (
        isinstance(value, list) != (column.width > 1)
        or len(parts) != column.width
        or not all(isinstance(part, (int, float)) and not isinstance(part, bool) for part in parts)
    ):
        expected = "a number" if column.width == 1 else f"a list of {column.width} numbers"
        raise DataError(f"{row.place}: {field} is {value!r}; expected {expected} or null")
    for part in parts:
        if not column.low - _TOLERANCE <= part <= column.high + _TOLERANCE:
            raise DataError(
                f"{row.place}: {field} is {part}; {column.name} lies between {column.low:g} and {column.high:g} "
                "(a fraction, not a percentage)"
            )
    return value
