"""Random numbers that depend on names, not on the order in which they are asked for.

A draw is a hash of (seed, names, index). Two draws with different names are independent; the same draw asked
twice, alone or in an array, is the same number on every machine. The array form is the SplitMix64 finaliser
(Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) over a BLAKE2b key; the
stream form reads BLAKE2b digests directly.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


class Stream:
    """An endless series of small draws for one item, quick in plain Python.

    Args:
        key: any bytes (64 at most); equal keys give equal series.
    """

    __slots__ = ("_block", "_key", "_left")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._block = 0
        self._left: list[int] = []

    def below(self, n: int) -> int:
        """An integer in [0, n); n up to 65,536."""
        if not self._left:
            digest = blake2b(self._block.to_bytes(4, "little"), key=self._key).digest()
            self._left = list(struct.unpack("<32H", digest))
            self._block += 1
        return self._left.pop() * n >> 16

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each equally likely."""
        return options[self.below(len(options))]

    def chance(self, probability: float) -> bool:
        """True with the given probability (resolution 1/65,536)."""
        return self.below(65536) < probability * 65536


class Draws:
    """Draws under one seed and a path of names.

    Args:
        seed: the corpus seed.
        names: what the draws are for, from broad to narrow.
    """

    def __init__(self, seed: int, *names: str) -> None:
        self._names = names
        self._seed = seed
        self._key = blake2b("\x1f".join([str(seed), *names]).encode(), digest_size=32).digest()

    def child(self, *names: str) -> Draws:
        """Draws for something inside this; independent of this object's own draws."""
        return Draws(self._seed, *self._names, *names)

    def bits(self, name: str, index: Ints) -> NDArray[np.uint64]:
        """64 random bits for each index."""
        start = int.from_bytes(blake2b(name.encode(), key=self._key, digest_size=8).digest(), "little")
        z = (index.astype(np.uint64) + np.uint64(1)) * _GOLDEN + np.uint64(start)
        z = (z ^ (z >> np.uint64(30))) * _MIX_1
        z = (z ^ (z >> np.uint64(27))) * _MIX_2
        return z ^ (z >> np.uint64(31))

    def uniform(self, name: str, index: Ints) -> Floats:
        """A float in [0, 1) for each index."""
        return (self.bits(name, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def integers(self, name: str, index: Ints, high: int) -> Ints:
        """An integer in [0, high) for each index."""
        return (self.uniform(name, index) * high).astype(np.int64)

    def permutation(self, name: str, n: int) -> Ints:
        """The numbers 0 … n-1 in random order."""
        return np.argsort(self.bits(name, np.arange(n, dtype=np.int64)), kind="stable").astype(np.int64)

    def stream(self, name: str, index: int) -> Stream:
        """The series of draws of one item."""
        return Stream(blake2b(f"{name}\x1f{index}".encode(), key=self._key, digest_size=32).digest())

    def number(self, name: str, index: int) -> int:
        """128 random bits for one item, as a non-negative integer."""
        return int.from_bytes(blake2b(f"{name}\x1f{index}".encode(), key=self._key, digest_size=16).digest(), "little")
