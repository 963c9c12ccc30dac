"""Records in order: by split (train, val, test), then by id, byte by byte, cut into batches of one split each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.sources.arrays import Chunks
from instruct.specs.task_spec import SPLITS

# The same order in SQL; what is no split or no id comes first, to be told at once.
ORDER = f"list_position({list(SPLITS)}, split) NULLS FIRST, id NULLS FIRST"


def cut(records: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Cut a stream of records that are in order.

    Args:
        records: columns ``id`` and ``split``, among others.
        rows: records in a batch; only a split's last one may hold fewer.
    """
    held: pa.Table | None = None
    for batch in records:
        table, start = pa.Table.from_batches([batch]), 0
        for split in SPLITS:
            length = pc.sum(pc.equal(table["split"], split)).as_py() or 0
            if not length:
                continue
            if held is not None and len(held) and held["split"][0].as_py() != split:
                yield _one_batch(held)
                held = None
            part = table.slice(start, length)
            held = part if held is None else pa.concat_tables([held, part])
            start += length
            while len(held) >= rows:
                yield _one_batch(held.slice(0, rows))
                held = held.slice(rows)
    if held is not None and len(held):
        yield _one_batch(held)


def put_in_order(records: pa.Table, rows: int) -> Iterator[pa.RecordBatch]:
    """Put records in order and cut them; only ids are held in memory, the records themselves may lie on disk.

    Args:
        records: columns ``id`` (no two alike) and ``split``, among others.
        rows: as :func:`cut` takes it.
    """
    chunks = Chunks(records)
    for split in SPLITS:
        found = pc.indices_nonzero(pc.equal(records["split"], split)).cast(pa.int64())
        order = np.asarray(found.take(pc.sort_indices(records["id"].take(found))))
        for start in range(0, len(order), rows):
            yield chunks.take(order[start : start + rows])


def _one_batch(table: pa.Table) -> pa.RecordBatch:
    return table.combine_chunks().to_batches()[0]
