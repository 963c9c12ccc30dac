"""Masks as polygons and back.

Rule: a pixel belongs to a polygon where its centre lies inside by the even-odd rule; polygons add up. Corners are
shares of width and height, 0-1: pixel (row, column) of a mask is the square from (column, row) / (width, height) on.

Outlines run along the edges of pixels, so filling an outline gives its mask back exactly, holes included: a hole is
joined to its outer ring by a line that is drawn there and back, which the even-odd rule does not see.

A simplified outline differs from its mask only near the mask's edge: with tolerance t (a share of the longer side, s
pixels long), and corners then moved by at most d pixels (printing rounds them), every pixel that changes has its
centre within ``max(2 * t * s, t * s + d)`` pixels of the edge. Parts may touch, but none is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from instruct.regions import Floats, Ints, Mask

Ring = Floats

# For each corner (which of its pixels are on: 1 north-west, 2 north-east, 4 south-west, 8 south-east), the way out by
# the way in. An outline goes along the edge of the mask with the mask on its right; where two pixels touch at a corner
# only, each keeps an outline of its own.
_RIGHT, _DOWN, _LEFT, _UP = range(4)
_WAY_OUT: dict[int, dict[int, int]] = {
    1: {_DOWN: _LEFT},
    2: {_LEFT: _UP},
    4: {_RIGHT: _DOWN},
    8: {_UP: _RIGHT},
    6: {_LEFT: _UP, _RIGHT: _DOWN},
    9: {_DOWN: _LEFT, _UP: _RIGHT},
    7: {_LEFT: _DOWN},
    11: {_UP: _LEFT},
    13: {_DOWN: _RIGHT},
    14: {_RIGHT: _UP},
}
_IS_CORNER = np.isin(np.arange(16), list(_WAY_OUT))


def fill(polygons: Sequence[Sequence[Sequence[float]] | Floats], height: int, width: int) -> Mask:
    """Mask of polygons.

    Args:
        polygons: corners (x, y) as shares; each polygon closes by itself.
        height: rows of the mask.
        width: columns of the mask.
    """
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        corners = np.asarray(polygon, np.float64).reshape(-1, 2) * (width, height)
        if len(corners) < 3:
            continue
        # Each edge from its upper end on, so that one drawn there and back gives the same crossings to the last bit.
        ends = np.stack([corners, np.roll(corners, -1, axis=0)])
        falls = ends[0, :, 1] <= ends[1, :, 1]
        (x0, y0), (x1, y1) = np.where(falls[:, None], ends, ends[::-1]).transpose(0, 2, 1)
        # A row's centre line crosses an edge whose ends lie on both sides of it.
        first = np.clip(np.ceil(y0 - 0.5), 0, height).astype(np.int64)
        rows = np.clip(np.ceil(y1 - 0.5), 0, height).astype(np.int64) - first
        edge = np.repeat(np.arange(len(corners)), rows)
        row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows, rows) + first[edge]
        x = x0[edge] + (row + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
        # Every pixel whose centre lies left of a crossing is turned over by it.
        column = np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)
        if not len(row):
            continue
        top, bottom = int(row.min()), int(row.max()) + 1
        size = (bottom - top, width + 1)
        turns = np.bincount((row - top) * (width + 1) + column, minlength=size[0] * size[1]).reshape(size)
        mask[top:bottom] |= np.cumsum(turns[:, :0:-1], axis=1)[:, ::-1] % 2 == 1
    return mask


def outline(mask: Mask, tolerance: float = 0.0) -> list[Ring]:
    """Polygons of a mask, one per connected part, holes joined to the ring around them.

    Args:
        mask: array of shape (height, width).
        tolerance: how far a left-out corner may lie from the outline, as a share of the longer side.

    Returns:
        Rings of shape (corners, 2): x, y as shares, three corners or more; ordered by their topmost, then leftmost
        point. Filled, they give the mask (exactly for tolerance 0).
    """
    height, width = mask.shape
    rings = _rings(mask)
    limit = tolerance * max(height, width)
    outer = [ring for ring in rings if _area(ring) > 0]
    holes: list[list[Ring]] = [[] for _ in outer]
    for ring in rings:
        if _area(ring) < 0:
            holes[_around(ring, outer)].append(ring)
    polygons = []
    for ring, inner in zip(outer, holes, strict=True):
        joined = [simplify(ring, limit)]
        for hole in inner:
            joined += [joined[0][:1], simplify(hole, limit)]
            joined.append(joined[-1][:1])
        polygons.append(np.concatenate(joined) / (width, height))
    return polygons


def simplify(ring: Ring, tolerance: float) -> Ring:
    """Leave corners out of a closed ring (Douglas and Peucker's way, by distance from the line's piece).

    Args:
        ring: shape (corners, 2), three or more.
        tolerance: how far a left-out corner may lie from the piece that replaces it, in the ring's unit.

    Returns:
        Three corners or more: a ring that would become a line keeps more corners than it must.
    """
    while tolerance > 0:
        kept = _kept(ring, tolerance)
        if len(kept) > 2:
            return ring[kept]
        tolerance /= 2
    return ring


def inner_point(mask: Mask) -> tuple[float, float]:
    """A point well inside a mask: the centre of the pixel with the most room in the four directions of the axes.

    Returns:
        x, y as shares; of several such pixels the topmost, then leftmost.

    Raises:
        ValueError: the mask is empty.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        raise ValueError("an empty mask has no inner point")
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    room = np.minimum(_room(part), _room(part.T).T)
    row, column = np.unravel_index(int(np.argmax(room)), room.shape)
    return (
        (float(column) + float(columns[0]) + 0.5) / mask.shape[1],
        (float(row) + float(rows[0]) + 0.5) / mask.shape[0],
    )


def _room(mask: Mask) -> Ints:
    """Pixels from each pixel to the nearer end of its run in its row; 0 outside the mask."""
    place = np.arange(mask.shape[1])
    before = place - np.maximum.accumulate(np.where(mask, -1, place), axis=1)
    after = np.minimum.accumulate(np.where(mask, mask.shape[1], place)[:, ::-1], axis=1)[:, ::-1] - place
    return np.minimum(before, after)


def _rings(mask: Mask) -> list[Ring]:
    """Closed lines along the edges of pixels, corners only, in pixels; outer ones clockwise, holes the other way."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return []
    on = np.pad(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1).astype(np.uint8)
    code = on[:-1, :-1] + 2 * on[:-1, 1:] + 4 * on[1:, :-1] + 8 * on[1:, 1:]
    row, column = np.nonzero(_IS_CORNER[code])
    kinds = code[row, column].tolist()
    down = np.lexsort((row, column))  # the next corner to the right follows in row order, the next below in this
    place = np.empty_like(down)
    place[down] = np.arange(len(down))
    below, above = np.roll(down, -1)[place].tolist(), np.roll(down, 1)[place].tolist()
    rings = []
    seen: set[tuple[int, int]] = set()
    for start, kind in enumerate(kinds):
        for way in _WAY_OUT[kind]:
            at, into = start, way
            path = []
            while (at, into) not in seen:
                seen.add((at, into))
                path.append(at)
                into = _WAY_OUT[kinds[at]][into]
                at = (at + 1, below[at], at - 1, above[at])[into]
            if path:
                rings.append(np.stack([column[path] + columns[0], row[path] + rows[0]], axis=1).astype(np.float64))
    return rings


def _area(ring: Ring) -> float:
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum()) / 2


def _around(hole: Ring, outer: Sequence[Ring]) -> int:
    """Which outer ring a hole lies in: the smallest around a pixel at the hole's edge."""
    # The mask lies right of the first step, so the hole's pixel lies left of it.
    step = np.sign(hole[1] - hole[0])
    x, y = hole[0] + step / 2 + np.array([step[1], -step[0]]) / 2
    around = []
    for index, ring in enumerate(outer):
        x0, y0 = ring.T
        x1, y1 = np.roll(ring, -1, axis=0).T
        # Every edge is upright or level, so an edge that crosses the point's row lies at one x.
        if int((((y0 <= y) != (y1 <= y)) & (x < np.minimum(x0, x1))).sum()) % 2:
            around.append((_area(ring), index))
    return min(around)[1]


def _kept(ring: Ring, tolerance: float) -> list[int]:
    far = int(np.argmax(((ring - ring[0]) ** 2).sum(axis=1)))
    closed = np.concatenate([ring, ring[:1]])
    kept = {0, far}
    pieces = [(0, far), (far, len(ring))]
    while pieces:
        first, last = pieces.pop()
        if last - first < 2:
            continue
        away = _from_piece(closed[first + 1 : last], closed[first], closed[last])
        worst = int(np.argmax(away))
        if away[worst] > tolerance:
            middle = first + 1 + worst
            kept.add(middle)
            pieces += [(first, middle), (middle, last)]
    return sorted(kept)


def _from_piece(points: Floats, start: Floats, end: Floats) -> Floats:
    """Distance of points from the straight piece between two points."""
    along = end - start
    length = float(along @ along)
    share = np.clip((points - start) @ along / length, 0, 1) if length else np.zeros(len(points))
    away = points - start - share[:, None] * along
    distance: Floats = np.sqrt((away**2).sum(axis=1))
    return distance
