"""The memory of Arrow columns, looked at as it is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

# Bytes in a block: what is made of one stays in a core's cache.
_BLOCK = 1 << 18


def text_bytes(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    """All bytes of some texts, one text after the other, without a copy: to look for a byte in all of them at once."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return np.zeros(0, np.uint8)
    first, last = np.frombuffer(offsets, np.int32)[[texts.offset, texts.offset + len(texts)]]
    return np.frombuffer(data, np.uint8)[first:last]


def text_blocks(texts: pa.StringArray) -> Iterator[npt.NDArray[np.uint8]]:
    """The same in blocks, quicker to look through; the last byte of each stands at the front of the next, too."""
    said = text_bytes(texts)
    for start in range(0, len(said), _BLOCK):
        yield said[start : start + _BLOCK + 1]


def first_bytes(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    """The first byte of each text; 0 for an empty one or null."""
    _, offsets, data = texts.buffers()
    begin = np.zeros(len(texts), np.uint8)
    if data is not None and len(texts):
        at = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
        some = at[1:] > at[:-1]
        begin[some] = np.frombuffer(data, np.uint8)[at[:-1][some]]
    return begin


def copied(array: pa.Array) -> pa.Array:
    """A copy with buffers of its own: those of a part of a larger array, or of a batch of DuckDB's, hold all of it."""
    return array.take(pa.array(np.arange(len(array))))
