"""The memory of Arrow columns, looked at as it is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def text_bytes(texts: pa.StringArray) -> npt.NDArray[np.uint8]:
    """All bytes of some texts, one text after the other, without a copy: to look for a byte in all of them at once."""
    _, offsets, data = texts.buffers()
    if data is None or not len(texts):
        return np.zeros(0, np.uint8)
    first, last = np.frombuffer(offsets, np.int32)[[texts.offset, texts.offset + len(texts)]]
    return np.frombuffer(data, np.uint8)[first:last]
