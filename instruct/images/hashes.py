"""Two names for the content of an image: one for exactly these pixels, one that survives a change of size or quality.

Both are taken from the pixels as they are shown (8 bit, oriented, windowed), and both are the same on every machine:
the perceptual hash is integer arithmetic throughout.

The perceptual hash is the sign pattern of low frequencies, after C. Zauner, "Implementation and Benchmarking of
Perceptual Image Hash Functions" (2010): mean brightness of 32 x 32 tiles, its cosine transform, and one bit for each of
64 low frequencies that says whether it is above their median. Two pictures of one radiograph differ in a few bits, two
radiographs in about half; how many count as the same is for the reader of the hashes to say.
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
HASH_BITS = 64

_TILES = 32
_LOW = 8


def content_hash(pixels: Pixels) -> str:
    """SHA-256 of an image's pixels, with their shape and type: equal where every pixel is.

    Args:
        pixels: shape (height, width) or (height, width, channels).

    Returns:
        64 hexadecimal digits.
    """
    values = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    digest = hashlib.sha256(f"{values.dtype.str} {values.shape};".encode())
    digest.update(values.data)
    return digest.hexdigest()


def perceptual_hash(pixels: Pixels) -> np.uint64:
    """Hash of what an image looks like.

    Args:
        pixels: grey values, shape (height, width), at least one pixel.

    Returns:
        64 bits; the highest is the lowest frequency.
    """
    tiles = _tile_means(pixels)
    waves = _cosines()
    low = (waves @ tiles @ waves.T).ravel()
    # The 64 lowest without the constant one, which is brightness: order by frequency, rows before columns.
    chosen = low[_order()]
    bits = chosen > np.partition(chosen, HASH_BITS // 2)[HASH_BITS // 2]
    packed: np.uint64 = np.packbits(bits).view(">u8")[0].astype(np.uint64)
    return packed


def differing_bits(first: NDArray[np.uint64] | np.uint64, second: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint8]:
    """Number of bits, 0-64, in which perceptual hashes differ; shapes broadcast.

    Args:
        first: hashes.
        second: hashes.
    """
    return np.asarray(np.bitwise_count(np.bitwise_xor(first, second)), np.uint8)


def _tile_means(pixels: Pixels) -> NDArray[np.int64]:
    """Mean of each of 32 x 32 tiles, times 256, rounded down; tiles of a smaller image share pixels."""
    height, width = pixels.shape
    rows = np.arange(_TILES) * height // _TILES
    columns = np.arange(_TILES) * width // _TILES
    # Down the rows first: whole rows add up quickly, and what is left is small.
    ends = np.maximum(np.append(rows[1:], height), rows + 1)
    bands = np.stack([pixels[first:last].sum(axis=0, dtype=np.uint32) for first, last in zip(rows, ends, strict=True)])
    sums = np.add.reduceat(bands, columns, axis=1, dtype=np.int64)
    # reduceat takes one element where two tiles begin at the same place.
    counts = np.maximum(np.diff(np.append(rows, height)), 1)[:, None] * np.maximum(
        np.diff(np.append(columns, width)), 1
    )
    means: NDArray[np.int64] = sums * 256 // counts
    return means


@cache
def _cosines() -> NDArray[np.int64]:
    """The lowest frequencies of the cosine transform of 32 values, in 4096ths; shape (9, 32)."""
    frequency, place = np.arange(_LOW + 1)[:, None], np.arange(_TILES)[None, :]
    waves: NDArray[np.int64] = np.rint(4096 * np.cos(np.pi * frequency * (2 * place + 1) / (2 * _TILES))).astype(
        np.int64
    )
    return waves


@cache
def _order() -> NDArray[np.int64]:
    """Places of the 64 lowest frequencies in the 9 x 9 block, lowest first, without the constant one."""
    row, column = np.divmod(np.arange((_LOW + 1) ** 2), _LOW + 1)
    order: NDArray[np.int64] = np.lexsort((column, row, row + column))[1 : HASH_BITS + 1]
    return order
