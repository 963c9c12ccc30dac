"""Merging the boxes that several radiologists drew around one thing, by the rule of the published VinDr rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instruct.regions import Floats, Ints

OVERLAP = 0.1


@dataclass(frozen=True)
class Merged:
    """Boxes that overlapping ones were merged into, ordered by group, then by their first box.

    Attributes:
        first: first box of each, as a row of what was merged.
        number: place in its group, from 1.
        boxes: number of boxes in it.
        corners: x1, y1, x2, y2 of the rectangle around them; shape (merged, 4).
    """

    first: Ints
    number: Ints
    boxes: Ints
    corners: Floats


def merge_boxes(corners: Floats, group: Ints) -> Merged:
    """Merge overlapping boxes: one pass in the given order, which decides.

    In each group the first box takes in every later one whose intersection over union with it is above
    :data:`OVERLAP`, whatever it has taken in by then; then the first of those left does the same, and so on.

    Args:
        corners: x1, y1, x2, y2 of each box; shape (boxes, 4).
        group: boxes of one number can merge.
    """
    left = np.argsort(group, kind="stable")
    found = []
    place = 0
    while len(left):
        place += 1
        start = np.flatnonzero(np.diff(group[left], prepend=-1))
        taken = np.zeros(len(left), bool)
        taken[start] = True
        later = np.flatnonzero(~taken)
        leader = left[np.maximum.accumulate(np.where(taken, np.arange(len(left)), 0))[later]]
        taken[later] = _overlap(corners[left[later]], corners[leader]) > OVERLAP
        inside = left[taken]
        at = np.searchsorted(np.flatnonzero(taken), start)
        low = np.minimum.reduceat(corners[inside, :2], at)
        high = np.maximum.reduceat(corners[inside, 2:], at)
        numbers = np.diff(np.append(at, len(inside)))
        found.append((inside[at], np.full(len(at), place), numbers, np.hstack([low, high])))
        left = left[~taken]
    if not found:
        nothing = np.zeros(0, np.int64)
        return Merged(nothing, nothing, nothing, np.zeros((0, 4)))
    first, number, boxes, rectangles = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((number, group[first]))
    return Merged(first[order], number[order], boxes[order], rectangles[order])


def _overlap(one: Floats, other: Floats) -> Floats:
    """Intersection over union of boxes, pair by pair; 0 where neither has an area."""
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    shared: Floats = np.clip(sides, 0, None).prod(axis=1)
    total = (one[:, 2:] - one[:, :2]).prod(axis=1) + (other[:, 2:] - other[:, :2]).prod(axis=1) - shared
    overlap: Floats = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return overlap
