"""Memory of the process: when to look for garbage, and what to do about what is free and still held."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from functools import cache
from typing import Any

_M_ARENA_MAX = -8  # of glibc's malloc.h
_ours = False
_ALLOCATOR = "JE_ARROW_MALLOC_CONF"
# What is freed serves every thread before it goes back to the system, some milliseconds later.
_FREED_FOR = "narenas:1,dirty_decay_ms:{},muzzy_decay_ms:0"


def own_process() -> None:
    """Say that the process is this package's alone, so that its heap may be arranged; before Arrow is imported."""
    global _ours
    _ours = True
    if sys.platform == "linux":  # there Arrow's packages have this allocator: builds are faster and need less memory
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
        os.environ.setdefault(_ALLOCATOR, _FREED_FOR.format(100))


def keep_freed() -> None:
    """Let Arrow keep what is freed for a second, not a tenth of one; before it is imported.

    What is asked for again by then need not come from the system, which is faster, and takes some tens of MiB.
    """
    if os.environ.get(_ALLOCATOR) == _FREED_FOR.format(100):  # and is not the user's choice
        os.environ[_ALLOCATOR] = _FREED_FOR.format(1000)


def collect_seldom() -> None:
    """Look seldom for objects that hold each other: most that a command reads stays, and to walk it takes time."""
    if _ours:
        gc.set_threshold(100_000)


def share_heap() -> None:
    """Let all threads of a process of our own share one heap: each of several would keep what its threads free.

    This costs some per cent of the time where threads allocate side by side.
    """
    if _ours and (mallopt := _function("mallopt")):
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Give free memory back to the system, after something that needed much for a while; takes milliseconds."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if trim := _function("malloc_trim"):
        trim(0)


@cache
def _function(name: str) -> Any:
    """A function of the C library; None where it has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # Windows
        return None
