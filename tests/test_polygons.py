import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from instruct.polygons import fill, inner_point, outline, simplify

from .test_regions import masks


def distance_to_edge(mask):
    """How far each pixel lies from the mask's edge, at least: to the nearest centre on the other side, less one."""
    padded = np.pad(mask, 1)
    inside, outside = ndimage.distance_transform_edt(padded), ndimage.distance_transform_edt(~padded)
    return (np.maximum(inside, outside) - 1)[1:-1, 1:-1]


def plainly_filled(polygons, height, width):
    """The rule, pixel by pixel."""
    mask = np.zeros((height, width), bool)
    for polygon in polygons:
        for row in range(height):
            for column in range(width):
                x, y, inside = column + 0.5, row + 0.5, False
                for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
                    x0, x1, y0, y1 = x0 * width, x1 * width, y0 * height, y1 * height
                    if (y0 <= y) != (y1 <= y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                        inside = not inside
                mask[row, column] |= inside
    return mask


@given(masks())
def test_an_outline_gives_its_mask_back(mask):
    rings = outline(mask)
    assert (fill(rings, *mask.shape) == mask).all()
    assert len(rings) == ndimage.label(mask)[1]
    assert all(len(ring) >= 4 and ring.min() >= 0 and ring.max() <= 1 for ring in rings)


def test_holes_and_islands_in_them():
    mask = np.zeros((15, 17), bool)
    mask[1:14, 1:16] = True
    mask[3:12, 3:14] = False
    mask[5:10, 5:12] = True
    mask[7, 7:9] = False
    rings = outline(mask)
    assert len(rings) == 2
    assert (fill(rings, 15, 17) == mask).all()
    assert (fill(rings[:1], 15, 17) != mask).sum() == 5 * 7 - 2


@given(masks(48), st.floats(0, 0.1))
def test_a_simplified_outline_changes_only_what_is_near_the_edge(mask, tolerance):
    rings = outline(mask, tolerance)
    assert len(rings) == ndimage.label(mask)[1]
    changed = fill(rings, *mask.shape) != mask
    assert distance_to_edge(mask)[changed].max(initial=0) <= 2 * tolerance * max(mask.shape)


def test_simplifying_leaves_few_corners():
    rows, columns = np.mgrid[:1024, :1024]
    mask = ((columns - 400) / 200) ** 2 + ((rows - 500) / 350) ** 2 < 1
    (exact,), (short,) = outline(mask), outline(mask, 0.002)
    assert len(exact) > 500 and len(short) < 40
    overlap = fill([short], 1024, 1024)
    assert (overlap & mask).sum() / (overlap | mask).sum() > 0.98


@given(
    st.lists(
        st.lists(st.tuples(st.floats(-0.3, 1.3), st.floats(-0.3, 1.3)), min_size=3, max_size=7), min_size=1, max_size=3
    ),
    st.integers(1, 12),
    st.integers(1, 12),
)
def test_filling_follows_the_rule(polygons, height, width):
    assert (fill(polygons, height, width) == plainly_filled(polygons, height, width)).all()


def test_lines_and_points_fill_nothing():
    assert not fill([[[0.1, 0.1], [0.9, 0.9]], [[0.5, 0.5]], []], 8, 8).any()
    assert not fill([], 8, 8).any()


@given(arrays(float, st.tuples(st.integers(3, 12), st.just(2)), elements=st.integers(0, 20)), st.floats(0, 30))
def test_simplify_keeps_corners_of_the_ring(ring, tolerance):
    short = simplify(ring, tolerance)
    assert 3 <= len(short) <= len(ring)
    assert {tuple(point) for point in short.tolist()} <= {tuple(point) for point in ring.tolist()}


@given(masks())
def test_inner_point_lies_in_the_mask(mask):
    if not mask.any():
        with pytest.raises(ValueError, match="empty"):
            inner_point(mask)
        return
    x, y = inner_point(mask)
    assert mask[int(y * mask.shape[0]), int(x * mask.shape[1])]


def test_inner_point_keeps_off_the_edge():
    mask = np.zeros((40, 60), bool)
    mask[5:30, 10:45] = True
    mask[5:30, 10:45] &= ~np.eye(25, 35, dtype=bool)
    x, y = inner_point(mask)
    assert distance_to_edge(mask)[int(y * 40), int(x * 60)] >= 6
