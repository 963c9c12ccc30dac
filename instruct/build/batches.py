"""Arrow files that are written batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from instruct.build.files import explaining


@contextmanager
def appending(file: Path) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """What appends batches to a file (Arrow IPC file); the first one makes it, and its folder.

    Raises:
        DataError: the file cannot be written.
    """
    writer: pa.ipc.RecordBatchFileWriter | None = None

    def append(batch: pa.RecordBatch) -> None:
        nonlocal writer
        with explaining(file):
            if writer is None:
                file.parent.mkdir(parents=True, exist_ok=True)
                writer = pa.ipc.new_file(file, batch.schema)
            writer.write_batch(batch)

    try:
        yield append
    finally:
        if writer is not None:
            with explaining(file):
                writer.close()
