"""Boxes, points and masks follow their image, whatever is done to it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.images.geometry import fit
from instruct.images.store import ImagePolicy, store_image
from instruct.regions import box_of_mask, decode_mask, encode_mask
from tests.images.pictures import opened, saved

sides = st.integers(1, 4000)
ways = st.sampled_from(["short", "long", "square"])
shares = st.floats(0, 1)


@given(sides, sides, ways, st.integers(16, 1024))
def test_the_side_that_was_asked_for_and_nothing_is_enlarged(width, height, how, side):
    found = fit((width, height), how, side)
    reference = min if how == "short" else max
    assert found.content[0] <= width and found.content[1] <= height
    assert reference(found.content) == min(reference(width, height), side)
    # The other side keeps the shape, to half a pixel.
    scale = min(1, side / reference(width, height))
    assert abs(found.content[0] - max(1, width * scale)) <= 0.51
    assert abs(found.content[1] - max(1, height * scale)) <= 0.51
    if how == "square":
        assert found.canvas == (side, side)
        for axis in (0, 1):
            before, after = found.offset[axis], side - found.offset[axis] - found.content[axis]
            assert 0 <= before <= after <= before + 1
    else:
        assert found.canvas == found.content and found.offset == (0, 0)


@given(sides, sides, ways, st.integers(16, 1024), st.lists(st.tuples(shares, shares), min_size=1, max_size=6))
def test_points_keep_their_place_in_the_content(width, height, how, side, points):
    found = fit((width, height), how, side)
    for (x, y), (stored_x, stored_y) in zip(points, found.points(points), strict=True):
        assert 0 <= stored_x <= 1 and 0 <= stored_y <= 1
        assert (stored_x * found.canvas[0] - found.offset[0]) / found.content[0] == pytest.approx(x, abs=1e-9)
        assert (stored_y * found.canvas[1] - found.offset[1]) / found.content[1] == pytest.approx(y, abs=1e-9)


@given(sides, sides, ways, st.integers(16, 1024), shares, shares, shares, shares)
def test_a_box_is_the_box_of_its_corners(width, height, how, side, x1, y1, x2, y2):
    found = fit((width, height), how, side)
    box = found.box([x1, y1, x2, y2])
    assert box == pytest.approx([*found.point(x1, y1), *found.point(x2, y2)], abs=1e-9)
    if how != "square":
        assert box == [x1, y1, x2, y2]  # to the last bit: the bytes of a shard depend on it


@given(
    st.integers(8, 200), st.integers(8, 200), ways, st.integers(16, 128),
    st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0.05, 1),
)  # fmt: skip
def test_a_mask_goes_where_its_box_goes(width, height, how, side, left, top, wide, high):
    mask = np.zeros((height, width), bool)
    x, y = int(left * width), int(top * height)
    mask[y : y + max(1, int(high * height)), x : x + max(1, int(wide * width))] = True
    found = fit((width, height), how, side)
    stored = found.mask(mask)
    assert stored.shape == (found.canvas[1], found.canvas[0])
    assert stored.any()
    box, expected = box_of_mask(stored), found.box(list(box_of_mask(mask)))
    for axis in (0, 1, 0, 1):
        assert abs(box[axis] - expected[axis]) * found.canvas[axis % 2] <= 1
    text = found.mask_text(encode_mask(mask), height, width)
    assert (decode_mask(text, found.canvas[1], found.canvas[0]) == stored).all()
    nowhere = found.mask(np.zeros((height, width), bool))
    assert not nowhere.any()


@given(
    st.integers(40, 300), st.integers(40, 300), ways, st.integers(24, 96), st.sampled_from(["pillow", "fast"]),
    st.floats(0.1, 0.8), st.floats(0.1, 0.8),
)  # fmt: skip
def test_what_is_drawn_is_found_where_its_box_went(width, height, how, side, tools, x, y):
    """The property that matters: a bright box drawn into an image is bright where the geometry says."""
    pixels = np.full((height, width), 20, np.uint8)
    x1, y1 = int(x * width), int(y * height)
    x2, y2 = min(width, x1 + width // 4 + 8), min(height, y1 + height // 4 + 8)
    pixels[y1:y2, x1:x2] = 230
    stored = store_image(saved(pixels, "PNG"), ImagePolicy(how, side, "png", tools))
    grey = opened(stored.data)
    assert grey.shape == stored.geometry.canvas[::-1]
    box = stored.geometry.box([x1 / width, y1 / height, x2 / width, y2 / height])
    edges = np.array(box) * np.tile(stored.geometry.canvas, 2)
    bright = grey > 125
    found = box_of_mask(bright)
    assert np.abs(np.array(found) * np.tile(stored.geometry.canvas, 2) - edges).max() <= 1.01
