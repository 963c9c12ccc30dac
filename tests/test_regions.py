import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from instruct.regions import (
    box_of_mask,
    decode_mask,
    encode_mask,
    runs_of_gaps,
    runs_of_masks,
    runs_of_texts,
    union,
)


def masks(side=24):
    """Masks of every density: single pixels are rare in nature, but hardest on an encoder."""
    sizes = st.tuples(st.integers(1, side), st.integers(1, side))
    noise = sizes.flatmap(lambda size: arrays(bool, size, elements=st.booleans()))
    shapes = st.builds(ellipse, sizes, *[st.floats(0, 1) for _ in range(4)])
    return st.one_of(noise, shapes)


def ellipse(size, x, y, across, down):
    rows, columns = np.mgrid[: size[0], : size[1]]
    a, b = max(across * size[1], 0.5), max(down * size[0], 0.5)
    return ((columns - x * size[1]) / a) ** 2 + ((rows - y * size[0]) / b) ** 2 < 1


def of_coco(mask):
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))


@given(masks())
def test_compressed_text_is_that_of_pycocotools(mask):
    text = encode_mask(mask)
    assert text == of_coco(mask)["counts"].decode()
    assert (decode_mask(text, *mask.shape) == mask).all()


@given(masks())
def test_boxes_and_areas_are_those_of_pycocotools(mask):
    height, width = mask.shape
    theirs = of_coco(mask)
    x, y, across, down = coco.toBbox(theirs).tolist()
    assert box_of_mask(mask) == pytest.approx((x / width, y / height, (x + across) / width, (y + down) / height))
    assert runs_of_masks([mask]).areas().tolist() == [int(coco.area(theirs))]


@given(st.lists(masks(), min_size=1, max_size=4))
def test_union_covers_what_any_mask_covers(found):
    height, width = (max(mask.shape[axis] for mask in found) for axis in (0, 1))
    padded = [np.pad(mask, [(0, height - mask.shape[0]), (0, width - mask.shape[1])]) for mask in found]
    joined = union(runs_of_masks(padded))
    assert joined.compressed()[0] == coco.merge([of_coco(mask) for mask in padded])["counts"].decode()
    assert union(runs_of_masks(padded), [0]).compressed() == [encode_mask(padded[0])]


@given(st.lists(masks(), min_size=2, max_size=5))
def test_many_masks_convert_as_each_alone(found):
    shape = found[0].shape
    same = [np.resize(mask, shape) for mask in found]
    runs = runs_of_masks(same)
    assert len(runs) == len(same)
    assert runs.compressed() == [encode_mask(mask) for mask in same]
    assert runs.areas().tolist() == [int(mask.sum()) for mask in same]
    assert [tuple(box) for box in runs.boxes().tolist()] == [box_of_mask(mask) for mask in same]
    again = runs_of_texts(runs.compressed(), *shape)
    assert all((again.mask(index) == mask).all() for index, mask in enumerate(same))


def test_long_runs_take_several_characters():
    mask = np.zeros((1024, 1024), bool)
    mask[3:1000, 500:900] = True
    mask[0, 1023] = True
    assert encode_mask(mask) == of_coco(mask)["counts"].decode()
    assert (decode_mask(encode_mask(mask), 1024, 1024) == mask).all()


def gaps_of(mask):
    """Gap and length of each run, column by column, the plain way."""
    numbers, end, inside = [], 0, False
    flat = [*mask.T.ravel().tolist(), False]
    for place, on in enumerate(flat):
        if on and not inside:
            start = place
        elif inside and not on:
            numbers += [start - end, place - start]
            end = place
        inside = on
    return numbers


@given(st.lists(masks(), min_size=1, max_size=4))
def test_gaps_and_lengths_become_the_same_masks(found):
    shape = found[0].shape
    same = [np.resize(mask, shape) for mask in found]
    numbers = [gaps_of(mask) for mask in same]
    offsets = np.cumsum([0, *map(len, numbers)])
    runs = runs_of_gaps(np.array([n for some in numbers for n in some], np.int64), offsets, *shape)
    assert runs.compressed() == [encode_mask(mask) for mask in same]


def test_runs_that_touch_are_one():
    runs = runs_of_gaps(np.array([2, 3, 0, 4, 1, 0, 2, 1]), np.array([0, 8]), 5, 4)
    mask = np.zeros(20, bool)
    mask[2:9] = True
    mask[12] = True
    assert (runs.mask(0) == mask.reshape(4, 5).T).all()
    assert runs.compressed() == [encode_mask(mask.reshape(4, 5).T)]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [([1, 2, 3], "odd count"), ([1, -2], "negative"), ([5, 12], "beyond the 4 x 4 image")],
)
def test_gaps_that_are_no_mask_name_the_mask(numbers, message):
    values = np.array([0, 1, *numbers, 3, 4])
    with pytest.raises(ValueError, match=message) as caught:
        runs_of_gaps(values, np.array([0, 2, 2 + len(numbers), len(values)]), 4, 4)
    assert caught.value.args[1] == 1


@pytest.mark.parametrize("text", ["", "5220", "52203x", "\x01", "5220P", "522é3", "o" * 40])
def test_a_text_that_is_no_mask_is_refused(text):
    with pytest.raises(ValueError, match=r"no compressed run-length text|cover"):
        decode_mask(text, 4, 4)


def test_an_empty_mask_has_no_extent():
    mask = np.zeros((3, 5), bool)
    assert box_of_mask(mask) == (0, 0, 0, 0)
    assert not decode_mask(encode_mask(mask), 3, 5).any()
    assert not union(runs_of_masks([mask, mask])).mask(0).any()
