from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from instruct.images.hashes import HASH_BITS, content_hash, differing_bits, perceptual_hash
from tests.images.pictures import chest

images = arrays.arrays(
    st.sampled_from([np.uint8, np.uint16]), st.tuples(st.integers(1, 70), st.integers(1, 70)), fill=st.nothing()
)


@given(images)
def test_the_content_hash_changes_with_any_pixel_and_with_nothing_else(pixels):
    known = content_hash(pixels)
    assert len(known) == 64 and int(known, 16) >= 0
    assert content_hash(np.asfortranarray(pixels)) == known
    assert content_hash(pixels.astype(pixels.dtype.newbyteorder(">"))) == known
    other = pixels.copy()
    other.flat[-1] ^= 1
    assert content_hash(other) != known


def test_the_content_hash_tells_shapes_and_depths_apart():
    pixels = np.arange(24, dtype=np.uint8)
    every = [
        pixels.reshape(4, 6),
        pixels.reshape(6, 4),
        pixels.reshape(4, 2, 3),
        pixels.astype(np.uint16).reshape(4, 6),
    ]
    assert len({content_hash(one) for one in every}) == 4


@given(images)
def test_any_image_has_a_perceptual_hash_of_64_bits(pixels):
    found = perceptual_hash(pixels)
    assert isinstance(found, np.uint64)
    assert perceptual_hash(np.asfortranarray(pixels)) == found


@pytest.mark.parametrize("seed", range(12))
def test_one_picture_keeps_its_hash_through_size_quality_and_contrast(seed):
    pixels = chest(600, 500, seed=seed)
    known = perceptual_hash(pixels)
    smaller = np.asarray(Image.fromarray(pixels).resize((250, 300), Image.Resampling.BICUBIC))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=60)
    deep = pixels.astype(np.uint16) * 13 + 100
    for other in (smaller, np.asarray(Image.open(file)), deep, pixels // 2 + 40):
        assert differing_bits(known, perceptual_hash(other)) <= 6


def test_other_pictures_have_other_hashes():
    hashes = np.array([perceptual_hash(chest(300, 260, seed=seed)) for seed in range(40)], np.uint64)
    apart = differing_bits(hashes[:, None], hashes[None, :])
    assert apart.shape == (40, 40) and apart.dtype == np.uint8
    between = apart[np.triu_indices(40, 1)]
    assert between.min() >= 12 and 28 <= between.mean() <= 36


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_bits_are_counted(first, second):
    assert differing_bits(np.uint64(first), np.uint64(second)) == (first ^ second).bit_count() <= HASH_BITS


def test_hashes_stay_as_they_are_from_release_to_release():
    rows, columns = np.mgrid[0:64, 0:48]
    pixels = ((rows * rows + 3 * columns * rows + 7 * columns) % 251).astype(np.uint8)
    assert content_hash(pixels) == "b59a73f29822887d60aefbeadeee0908be6e8a4789a74b80a254e1c51c9d4304"
    assert f"{int(perceptual_hash(pixels)):016x}" == "102c0a28d5afbf37"
