"""Memory that is free and still held by the process."""

from __future__ import annotations

import ctypes
import platform
from functools import cache
from typing import Any

import pyarrow as pa


def give_back() -> None:
    """Give free memory back to the system, after something that needed much for a while; takes milliseconds."""
    pa.default_memory_pool().release_unused()
    if trim := _malloc_trim():
        trim(0)


@cache
def _malloc_trim() -> Any:
    """The function of glibc; None with another C library."""
    return ctypes.CDLL(None).malloc_trim if platform.libc_ver()[0] == "glibc" else None
