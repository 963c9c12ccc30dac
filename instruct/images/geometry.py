"""Where an image's content ends up when it is resized and padded, and where boxes, points and masks go with it.

Coordinates of regions are shares of width and height. Resizing alone does not change them; padding does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from instruct.regions import Mask, decode_mask, encode_mask

Fit = Literal["short", "long", "square"]
Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Geometry:
    """From the pixels of a published image, the right way up, to those of the stored one.

    Attributes:
        source: width and height of the published image.
        content: width and height it is resized to.
        canvas: width and height of the stored image.
        offset: column and row of the stored image at which the content begins.
    """

    source: Size
    content: Size
    canvas: Size
    offset: Size = (0, 0)

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point goes; shares of the published image to shares of the stored one."""
        return (
            (self.offset[0] + x * self.content[0]) / self.canvas[0],
            (self.offset[1] + y * self.content[1]) / self.canvas[1],
        )

    def points(self, points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
        """Where the points of a polygon go."""
        return [self.point(x, y) for x, y in points]

    def box(self, box: Sequence[float]) -> list[float]:
        """Where a box x1, y1, x2, y2 goes. Without padding it stays as it is, to the last bit."""
        if self.canvas == self.content:
            return list(box)
        x1, y1, x2, y2 = box
        return [*self.point(x1, y1), *self.point(x2, y2)]

    def mask(self, mask: Mask) -> Mask:
        """Where a mask goes: each stored pixel takes the published one at its centre.

        A mask too thin for that keeps one pixel, that of its middle pixel in row order.

        Args:
            mask: shape (height, width); those of the published image, or of any grid over it.

        Returns:
            A mask of the stored image's height and width.
        """
        height, width = mask.shape
        columns = _centres(self.content[0], width)
        rows = _centres(self.content[1], height)
        stored = np.zeros((self.canvas[1], self.canvas[0]), bool)
        left, top = self.offset
        inner = stored[top : top + self.content[1], left : left + self.content[0]]
        inner[:] = mask[rows[:, None], columns[None, :]]
        if not inner.any() and mask.any():
            on_rows, on_columns = np.nonzero(mask)
            middle = len(on_rows) // 2
            inner[on_rows[middle] * self.content[1] // height, on_columns[middle] * self.content[0] // width] = True
        return stored

    def mask_text(self, text: str, height: int, width: int) -> str:
        """The same of COCO's compressed run lengths.

        Raises:
            ValueError: they do not fill the mask.
        """
        return encode_mask(self.mask(decode_mask(text, height, width)))


def fit(source: Size, how: Fit, side: int) -> Geometry:
    """The geometry of an image resized to a side; nothing is ever enlarged.

    Args:
        source: width and height, at least 1.
        how: ``short``: the shorter side becomes ``side``; ``long``: the longer one does; ``square``: the longer one
            does, and black is added on both sides of the other to make a square of ``side``.
        side: in pixels.
    """
    reference = min(source) if how == "short" else max(source)
    width, height = source
    if reference > side:
        width, height = (max(1, (value * side * 2 + reference) // (reference * 2)) for value in source)
    if how != "square":
        return Geometry(source, (width, height), (width, height))
    return Geometry(source, (width, height), (side, side), ((side - width) // 2, (side - height) // 2))


def _centres(stored: int, published: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """For each stored pixel of a side the published one that its centre lies in."""
    places: np.ndarray[tuple[int], np.dtype[np.int64]] = (2 * np.arange(stored) + 1) * published // (2 * stored)
    return places
