"""A grey picture painted with soft shapes, each touching only the window that it covers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Grid = NDArray[np.float32]
Box = tuple[float, float, float, float]

_SEEN = 0.25


@dataclass(frozen=True, slots=True)
class Mask:
    """Part of a picture: ``alpha`` (0 outside the shape, 1 inside) over the rows and columns of its window."""

    rows: slice
    columns: slice
    alpha: Grid


class Canvas:
    """A grey picture that remembers the boxes of what is noted on it.

    Positions are fractions of width and height; all shapes move by ``shift``.

    Args:
        height: rows.
        width: columns.
        shift: displacement (x, y) of everything that is painted.
        ground: brightness of the empty picture, 0–1.

    Attributes:
        grey: brightness, shape (height, width).
        boxes: noted name → (x0, y0, x1, y1), 0–1, in the picture.
    """

    def __init__(self, height: int, width: int, shift: tuple[float, float], ground: float) -> None:
        x, y = _axes(height, width)
        self._x, self._y = x - np.float32(shift[0]), y - np.float32(shift[1])
        self._shift = shift
        self.grey: Grid = np.full((height, width), ground, dtype=np.float32)
        self.boxes: dict[str, Box] = {}

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, soft: float = 0.25) -> Mask:
        """An upright ellipse that fades towards its edge over the given share of its radius."""
        rows, columns = self._window(cx - rx, cy - ry, cx + rx, cy + ry)
        across = ((self._x[:, columns] - np.float32(cx)) / np.float32(rx)) ** 2
        down = ((self._y[rows] - np.float32(cy)) / np.float32(ry)) ** 2
        alpha = (np.float32(1 / soft) - (across / np.float32(soft) + down / np.float32(soft))).clip(0, 1)
        return Mask(rows, columns, alpha)

    def bar(self, x0: float, y0: float, x1: float, y1: float, half: float) -> Mask:
        """A straight stroke of the given half width."""
        reach = 1.3 * half
        left, right = min(x0, x1) - reach, max(x0, x1) + reach
        rows, columns = self._window(left, min(y0, y1) - reach, right, max(y0, y1) + reach)
        x, y = self._x[:, columns] - np.float32(x0), self._y[rows] - np.float32(y0)
        dx, dy = np.float32(x1 - x0), np.float32(y1 - y0)
        along = ((x * dx + y * dy) / (dx * dx + dy * dy)).clip(0, 1)
        gap = (x - along * dx) ** 2 + (y - along * dy) ** 2
        return Mask(rows, columns, (np.float32(1.5) - gap / np.float32(half * half)).clip(0, 1))

    def below(self, mask: Mask, edge: float, slope: float, middle: float = 0.5) -> Mask:
        """The part of a mask below a line that lies at ``edge`` in the middle and falls or rises to both sides."""
        line = np.float32(edge) - np.float32(slope) * np.abs(self._x[:, mask.columns] - np.float32(middle))
        return Mask(mask.rows, mask.columns, mask.alpha * ((self._y[mask.rows] - line) * np.float32(40)).clip(0, 1))

    def outside(self, mask: Mask, hole: Mask) -> Mask:
        """The part of a mask that another one does not cover."""
        cover = np.zeros_like(self.grey)
        cover[hole.rows, hole.columns] = hole.alpha
        return Mask(mask.rows, mask.columns, mask.alpha * (np.float32(1) - cover[mask.rows, mask.columns]))

    def ribs(self, mask: Mask, brightness: float) -> None:
        """Paint bowed stripes inside a mask."""
        bow = (self._x[:, mask.columns] - np.float32(0.5)) ** 2
        wave = np.abs(((self._y[mask.rows] + bow) * np.float32(11)) % np.float32(1) - np.float32(0.5))
        self.grey[mask.rows, mask.columns] += mask.alpha * (np.float32(0.5) - wave) * np.float32(brightness)

    def towards(self, mask: Mask, grey: float) -> None:
        """Blend to a brightness inside a mask."""
        view = self.grey[mask.rows, mask.columns]
        view += mask.alpha * (np.float32(grey) - view)

    def add(self, mask: Mask, grey: float) -> None:
        """Brighten inside a mask."""
        self.grey[mask.rows, mask.columns] += mask.alpha * np.float32(grey)

    def note(self, name: str, *masks: Mask) -> None:
        """Remember the box around the visible parts of the masks; nothing if none is visible."""
        height, width = self.grey.shape
        edges = []
        for mask in masks:
            seen = mask.alpha > _SEEN
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            if len(rows):
                left, top = mask.columns.start, mask.rows.start
                edges.append((left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1))
        if edges:
            x0, y0, x1, y1 = zip(*edges, strict=True)
            self.boxes[name] = (
                float(min(x0) / width), float(min(y0) / height), float(max(x1) / width), float(max(y1) / height)
            )  # fmt: skip

    def _window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        height, width = self.grey.shape
        dx, dy = self._shift
        return _span(y0 + dy, y1 + dy, height), _span(x0 + dx, x1 + dx, width)


def _span(low: float, high: float, size: int) -> slice:
    start = min(max(int(low * size), 0), size - 1)
    return slice(start, max(min(int(high * size) + 2, size), start + 1))


@lru_cache(maxsize=16)
def _axes(height: int, width: int) -> tuple[Grid, Grid]:
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5)) / np.float32(width)
    y = (np.arange(height, dtype=np.float32) + np.float32(0.5)) / np.float32(height)
    return x[None, :], y[:, None]
