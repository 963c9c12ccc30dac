"""Masks as run lengths, in the form COCO keeps them, and the boxes around them.

A mask of (height, width) is read column by column, top to bottom, left to right, and told as counts: so many pixels
off, so many on, so many off, ... (the first count may be 0). COCO's compressed text writes each count, from the fourth
on as its difference to the one two places before, in groups of five bits, lowest first, each group one character:
bit 5 says that another group follows, and 48 is added to reach printable characters
(https://github.com/cocodataset/cocoapi, ``maskApi.c``).

Many masks of one size are held as one ragged array, :class:`Runs`, so that a whole file converts at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Counts = NDArray[np.signedinteger]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Runs:
    """Masks of one size as counts of pixels that are off, on, off, ... in column order.

    Attributes:
        counts: the counts of all masks; those of one mask sum to ``height * width``.
        offsets: where each mask's counts begin, and where the last one's end; shape (masks + 1,).
        height: rows of the masks.
        width: columns of the masks.
    """

    counts: Counts
    offsets: Ints
    height: int
    width: int

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def areas(self) -> Ints:
        """Pixels of each mask; shape (masks,)."""
        return _sums(self.counts * self._on, self.offsets)

    def boxes(self) -> Floats:
        """Tight box of each mask, x1, y1, x2, y2 as shares of width and height; shape (masks, 4).

        Edges are those of pixels: a mask of the top left pixel alone has the box 0, 0, 1/width, 1/height. A mask
        without pixels has the box 0, 0, 0, 0.
        """
        filled = self._on & (self.counts > 0)
        on = np.flatnonzero(filled)
        before = np.searchsorted(on, self.offsets)
        numbers = np.diff(before)
        end = np.cumsum(self.counts, dtype=np.int64)[on]
        end -= np.repeat(np.arange(len(self)) * (self.height * self.width), numbers)
        last = end.astype(np.int32) - 1
        first = last + 1 - self.counts[on].astype(np.int32)
        left, right = first // self.height, last // self.height
        one_column = left == right
        top = np.where(one_column, first - left * self.height, 0)
        bottom = np.where(one_column, last - right * self.height, self.height - 1)
        boxes = np.zeros((len(self), 4))
        found = np.flatnonzero(numbers)
        if len(found):
            at = before[found]
            boxes[found, 0] = left[at] / self.width
            boxes[found, 1] = np.minimum.reduceat(top, at) / self.height
            boxes[found, 2] = (np.maximum.reduceat(right, at) + 1) / self.width
            boxes[found, 3] = (np.maximum.reduceat(bottom, at) + 1) / self.height
        return boxes

    def compressed(self) -> list[str]:
        """Each mask as COCO's compressed text."""
        counts = self.counts.astype(np.int32)
        values = counts.copy()
        values[2:] -= counts[:-2]
        # The first three counts of a mask stand as they are.
        for place in range(3):
            at = (self.offsets[:-1] + place)[np.diff(self.offsets) > place]
            values[at] = counts[at]
        whole, lengths = _letters(values)
        cuts = [0, *np.cumsum(_sums(lengths, self.offsets)).tolist()]
        return [whole[first:last] for first, last in pairwise(cuts)]

    def mask(self, index: int) -> Mask:
        """One mask as an array of shape (height, width)."""
        counts = self.counts[self.offsets[index] : self.offsets[index + 1]]
        on = np.arange(len(counts)) % 2 == 1
        return np.repeat(on, counts).reshape(self.width, self.height).T

    @cached_property
    def _on(self) -> Mask:
        """Whether each count is of pixels that are on."""
        on = np.zeros(len(self.counts), bool)
        on[1::2] = True
        on ^= np.repeat((self.offsets[:-1] % 2).astype(bool), np.diff(self.offsets))
        return on


# Numbers whose letters are looked up: nearly all differences of run lengths.
_NEAR = 1 << 12
# Letters that are moved at once; a number of 32 bits has at most seven.
_WORD = 4


def _letters(values: NDArray[np.int32]) -> tuple[str, NDArray[np.uint8]]:
    """Numbers as COCO's compressed text, one after the other, and how many letters each number has."""
    near_words, near_lengths = _words_of_near()
    far = np.flatnonzero((values < -_NEAR) | (values >= _NEAR))
    index = values + _NEAR
    index[far] = 0
    words, lengths = near_words.take(index), near_lengths.take(index)
    spelt, numbers = _spell(values[far])
    spelt = np.pad(spelt, ((0, 0), (0, 2 * _WORD - spelt.shape[1])))
    words[far], lengths[far] = spelt[:, :_WORD].copy().view(np.uint32)[:, 0], numbers
    long = np.flatnonzero(numbers > _WORD)
    words = np.insert(words, far[long] + 1, spelt[long, _WORD:].copy().view(np.uint32)[:, 0])
    return words.tobytes().translate(None, b"\0").decode("ascii"), lengths


@cache
def _words_of_near() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Letters of each near number, as one word that zeros fill up, and how many there are."""
    letters, lengths = _spell(np.arange(-_NEAR, _NEAR, dtype=np.int32))
    return np.pad(letters, ((0, 0), (0, _WORD - letters.shape[1]))).view(np.uint32)[:, 0].copy(), lengths


def _spell(values: NDArray[np.int32]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A letter for each five bits, the lowest first, then zeros; the last letter is that whose rest is all sign."""
    columns, rest, more = [], values, np.ones(len(values), bool)
    lengths = np.zeros(len(values), np.uint8)
    while more.any():
        lengths += more
        bits, here = (rest & 31).astype(np.uint8), more
        rest = rest >> 5
        more = more & (rest != -((bits >> 4) & 1).astype(np.int8))
        columns.append((bits + np.uint8(48) + np.uint8(32) * more) * here)
    return np.stack(columns, axis=1) if columns else np.zeros((len(values), 0), np.uint8), lengths


def runs_of_masks(masks: Sequence[Mask]) -> Runs:
    """Masks of one shape as runs.

    Args:
        masks: arrays of shape (height, width), one or more.
    """
    height, width = masks[0].shape
    counts = [_counts(np.asarray(mask, bool).T.ravel()) for mask in masks]
    return Runs(np.concatenate(counts), _offsets([len(some) for some in counts]), height, width)


def runs_of_texts(texts: Sequence[str], height: int, width: int) -> Runs:
    """Masks from COCO's compressed texts.

    Raises:
        ValueError: a text is cut off, holds other characters, or does not fill the image.
    """
    counts = [_expand(text) for text in texts]
    for text, some in zip(texts, counts, strict=True):
        if some.sum() != height * width or (some < 0).any():
            raise ValueError(f"the run lengths {_short(text)} cover {some.sum()} pixels, not {height} x {width}")
    joined = np.concatenate(counts) if counts else np.zeros(0, np.int64)
    return Runs(joined, _offsets([len(some) for some in counts]), height, width)


def runs_of_gaps(values: Counts, offsets: Ints, height: int, width: int) -> Runs:
    """Masks from pairs "gap, length", each gap counted from the end of the run before (SIIM-ACR's form).

    Args:
        values: gap, length, gap, length, ... of all masks, in column order.
        offsets: where each mask's pairs begin, and where the last one's end.
        height: rows of the masks.
        width: columns of the masks.

    Raises:
        ValueError: a gap without a length, a negative number, or runs beyond the image; ``args[1]`` is the mask.
    """
    numbers = np.diff(offsets)
    rest = height * width - _sums(values, offsets)
    negative = np.zeros(len(numbers), bool)
    negative[np.searchsorted(offsets, np.flatnonzero(values < 0), side="right") - 1] = True
    for wrong, why in (
        (numbers % 2 == 1, "has an odd count of numbers; expected pairs of gap and length"),
        (negative, "holds a negative number"),
        (rest < 0, f"runs beyond the {height} x {width} image"),
    ):
        if wrong.any():
            raise ValueError(f"the run-length text {why}", int(np.flatnonzero(wrong)[0]))
    # What is left after the last run is one more count. Where there is nothing left COCO writes none.
    tail = (rest > 0).astype(np.int64)
    ends = np.cumsum(numbers + tail)
    counts = np.empty(int(ends[-1]) if len(ends) else 0, values.dtype)
    tails = ends[tail == 1] - 1
    is_tail = np.zeros(len(counts), bool)
    is_tail[tails] = True
    counts[~is_tail] = values
    counts[tails] = rest[tail == 1]
    return _merged(Runs(counts, np.concatenate([[0], ends]), height, width))


def union(runs: Runs, masks: Iterable[int] | None = None) -> Runs:
    """One mask that covers what any of some masks covers.

    Args:
        runs: masks of one size.
        masks: which of them; default: all.
    """
    total = runs.height * runs.width
    chosen = range(len(runs)) if masks is None else masks
    starts, ends = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for index in chosen:
        bounds = np.cumsum(runs.counts[runs.offsets[index] : runs.offsets[index + 1]], dtype=np.int64)
        starts.append(bounds[0::2][: len(bounds) // 2])
        ends.append(bounds[1::2])
    at = np.concatenate([*starts, *ends])
    step = np.repeat([1, -1], [sum(map(len, starts)), sum(map(len, ends))])
    order = np.lexsort((-step, at))  # where one run ends and another begins, the mask goes on
    at, depth = at[order], np.cumsum(step[order])
    before = np.concatenate([[0], depth[:-1]])
    bounds = at[(depth == 0) != (before == 0)]
    bounds = np.concatenate([[0], bounds, [total]] if not len(bounds) or bounds[-1] < total else [[0], bounds])
    counts = np.diff(bounds).astype(np.int64)
    return _merged(Runs(counts, np.array([0, len(counts)]), runs.height, runs.width))


def encode_mask(mask: Mask) -> str:
    """A mask of shape (height, width) as COCO's compressed text."""
    return runs_of_masks([mask]).compressed()[0]


def decode_mask(text: str, height: int, width: int) -> Mask:
    """The mask of COCO's compressed text, shape (height, width).

    Raises:
        ValueError: see :func:`runs_of_texts`.
    """
    return runs_of_texts([text], height, width).mask(0)


def box_of_mask(mask: Mask) -> tuple[float, float, float, float]:
    """Tight box of a mask, x1, y1, x2, y2 as shares; see :meth:`Runs.boxes`."""
    x1, y1, x2, y2 = runs_of_masks([mask]).boxes()[0].tolist()
    return (x1, y1, x2, y2)


def _counts(pixels: Mask) -> Ints:
    edges = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    bounds = np.concatenate([[0], edges, [len(pixels)]])
    counts = np.diff(bounds)
    return np.concatenate([[0], counts]) if len(pixels) and pixels[0] else counts


def _sums(values: Counts | NDArray[np.uint8], offsets: Ints) -> Ints:
    """Sum of the values of each mask."""
    sums = np.zeros(len(offsets) - 1, np.int64)
    filled = np.flatnonzero(np.diff(offsets))
    if len(filled):
        sums[filled] = np.add.reduceat(values, offsets[filled], dtype=np.int64)
    return sums


def _offsets(lengths: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _expand(text: str) -> Ints:
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError(f"{_short(text)} is no compressed run-length text, or it is cut off")
    last = np.flatnonzero((codes & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    groups = last - first + 1
    if groups.max() > 12:
        raise ValueError(f"{_short(text)} is no compressed run-length text: a number is too long")
    shift = 5 * (np.arange(len(codes)) - np.repeat(first, groups))
    values: Ints = np.add.reduceat((codes & 31) << shift, first)
    values -= np.where(codes[last] & 16, np.int64(1) << (5 * groups), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def _merged(runs: Runs) -> Runs:
    """The same masks without counts of 0 in the middle, which join two runs into one."""
    zero = runs.counts == 0
    zero[runs.offsets[:-1][np.diff(runs.offsets) > 0]] = False
    if not zero.any():
        return runs
    odd = np.unique(np.searchsorted(runs.offsets, np.flatnonzero(zero), side="right") - 1)
    parts: list[Counts] = [runs.counts[runs.offsets[index] : runs.offsets[index + 1]] for index in range(len(runs))]
    for index in odd:
        parts[index] = _counts(np.repeat(np.arange(len(parts[index])) % 2 == 1, parts[index]))
    return Runs(np.concatenate(parts), _offsets([len(part) for part in parts]), runs.height, runs.width)


def _short(text: str) -> str:
    return repr(text if len(text) <= 24 else text[:21] + "...")
