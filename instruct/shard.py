"""Open shards: the Arrow files of a build."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa

from instruct.errors import DataError


@contextmanager
def open_shard(file: Path, size: int | None = None) -> Iterator[pa.RecordBatchStreamReader]:
    """Map a shard into memory and open it; batches are views of the file.

    Args:
        file: the shard.
        size: its bytes, as the manifest tells them; None does not compare them.

    Raises:
        DataError: the shard is missing, has another size, or cannot be read.
    """
    try:
        if size is not None and file.stat().st_size != size:
            raise OSError
        with pa.memory_map(str(file)) as source:
            yield pa.ipc.open_stream(source)
    except (OSError, KeyError, pa.ArrowException):
        raise damaged(file) from None


def damaged(file: Path) -> DataError:
    """What to say of a shard that is not the one that the build wrote."""
    return DataError(
        f"{file}: is missing or damaged; `cxr-instruct verify` says what else is, and the build command mends it"
    )
