from __future__ import annotations

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from instruct.sources.arrays import Chunks

SCHEMA = pa.schema([("number", pa.int64()), ("texts", pa.list_(pa.string()))])


@given(st.lists(st.integers(0, 5), max_size=6), st.data())
def test_rows_are_taken_from_pieces_as_from_one_table(lengths, data):
    rows = [{"number": row, "texts": [str(row)] * (row % 3)} for row in range(sum(lengths))]
    left = iter(rows)
    pieces = [pa.RecordBatch.from_pylist([next(left) for _ in range(length)], SCHEMA) for length in lengths]
    some = st.none() | st.integers(0, len(rows) - 1) if rows else st.none()
    asked = data.draw(st.lists(some, max_size=12))
    found = Chunks(pa.Table.from_batches(pieces, SCHEMA)).take(pa.array(asked, pa.int64()))
    assert found.schema == SCHEMA
    nothing = {"number": None, "texts": None}
    assert found.to_pylist() == [nothing if row is None else rows[row] for row in asked]
