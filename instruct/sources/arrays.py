"""Small steps between NumPy and Arrow."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def lists_of_rows(
    values: NDArray[np.float64] | NDArray[np.int32], valid: NDArray[np.bool_] | None = None
) -> pa.ListArray:
    """Rows of an array of shape (rows, n) as lists of n; null where not valid."""
    valid = np.ones(len(values), bool) if valid is None else valid
    offsets = np.concatenate([[0], np.cumsum(valid * values.shape[1])]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values[valid].ravel()), mask=pa.array(~valid))


def with_area(boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which boxes x1, y1, x2, y2, shape (boxes, 4), hold anything: not a line, a point, or all outside the image."""
    return np.logical_and(boxes[:, 0] < boxes[:, 2], boxes[:, 1] < boxes[:, 3])


def first_rows(codes: Ints) -> Ints:
    """Row at which each code stands first; codes count up from 0 in the order of their first rows."""
    return np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))


def places(codes: Ints) -> Ints:
    """Place of each row among the rows with its code, from 1."""
    order = np.argsort(codes, kind="stable")
    start = np.flatnonzero(np.diff(codes[order], prepend=-1))
    lengths = np.diff(np.append(start, len(codes)))
    numbers = np.empty(len(codes), np.int64)
    numbers[order] = np.arange(len(codes)) - np.repeat(start, lengths) + 1
    return numbers


def stems(names: pa.StringArray) -> pa.StringArray:
    """File names, or paths whose folders have no dots, without their last ending; without a dot as they are."""
    return pc.list_element(pc.split_pattern(names, ".", max_splits=1, reverse=True), 0)


class Chunks:
    """The chunks of a table, from which rows are taken without combining them."""

    def __init__(self, table: pa.Table) -> None:
        self._schema = table.schema
        self._batches = [batch for batch in table.to_batches() if len(batch)]
        self._starts = np.cumsum([0, *map(len, self._batches)])

    def take(self, rows: pa.Array | Ints) -> pa.RecordBatch:
        """Some rows of the table, in the order asked for; nulls where the row is null."""
        asked = pa.array(rows)
        ascending = np.sort(np.asarray(asked.drop_null()))
        bounds = np.searchsorted(ascending, self._starts)
        parts = [
            batch.take(pa.array(ascending[first:last] - start))
            for batch, start, first, last in zip(self._batches, self._starts, bounds, bounds[1:], strict=False)
            if last > first
        ]
        table = pa.Table.from_batches(parts, self._schema)
        found = pa.record_batch([values.combine_chunks() for values in table.columns], schema=self._schema)
        at = np.searchsorted(ascending, np.asarray(pc.fill_null(asked, 0)))
        return found.take(pa.array(at, mask=np.asarray(asked.is_null())))
