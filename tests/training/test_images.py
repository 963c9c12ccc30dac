"""A row's images: sizes from headers, pixels as RGB, faults with ids."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from instruct.images.window import Display, to_grey
from instruct.training.images import ImageFault, image_sizes, open_image, open_images
from tests.training.rows import png, row


def shown(*images, name="r1"):
    return row(("user", "?"), ("assistant", "!"), images=images, name=name)


def jpeg(width=64, height=48):
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (height, width), np.uint8)
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()


def test_sizes_come_from_the_header_alone(tmp_path):
    file = tmp_path / "cut.png"
    file.write_bytes(png(300, 200)[:60])  # signature and header; the pixels are gone
    cut = shown({"path": str(file), "bytes": None}, png(31, 17))
    assert image_sizes(cut) == [(300, 200), (31, 17)]
    with pytest.raises(ImageFault):
        open_images(cut)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_becomes_rgb(mode):
    image = open_image(shown(png(20, 10, mode, 1 if mode == "1" else None)), 0)
    assert image.mode == "RGB" and image.size == (20, 10)


def test_eight_bit_grey_keeps_its_values():
    assert np.asarray(open_image(shown(png(4, 4, "L", 77)), 0)).tolist() == [[[77] * 3] * 4] * 4


@pytest.mark.parametrize(("low", "high"), [(0, 4095), (1000, 3000), (0, 65535)])
def test_sixteen_bit_grey_is_windowed_as_a_build_does_it_and_not_clipped(low, high):
    ramp = np.linspace(low, high, 6400).astype(np.uint16).reshape(80, 80)
    out = io.BytesIO()
    Image.fromarray(ramp).save(out, "PNG")
    pixels = np.asarray(open_image(shown(out.getvalue()), 0))
    assert (pixels == to_grey(ramp, Display())[0][:, :, None]).all()
    assert np.abs(pixels[:, :, 0].ravel().astype(int) - np.linspace(0, 255, 6400)).max() <= 3


def test_a_sixteen_bit_image_of_one_value_is_a_fault():
    with pytest.raises(ImageFault, match=r"row r1, image 1: .* every pixel is 3000") as caught:
        open_image(shown(png(4, 4, "I;16", 3000)), 0)
    assert caught.value.reason == "constant_image"


def test_a_dicom_file_says_what_to_do(tmp_path):
    file = tmp_path / "a.dicom"
    file.write_bytes(bytes(128) + b"DICM" + bytes(200))
    for one in ({"path": str(file), "bytes": None}, file.read_bytes()):
        with pytest.raises(ImageFault, match=r"a DICOM file; build the dataset with images\.store=pack"):
            image_sizes(shown(one))


def test_a_file_that_is_no_image_says_so(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(b"<html>404</html>")
    with pytest.raises(ImageFault, match=r"a\.png: .*its content is no image \(it begins with b'<html>40'\)"):
        image_sizes(shown({"path": str(file), "bytes": None}))


def test_a_missing_file_is_told_with_the_row(tmp_path):
    absent = shown(png(), {"path": str(tmp_path / "absent.png"), "bytes": None}, name="study-7")
    for look in (image_sizes, open_images):
        with pytest.raises(ImageFault, match=r"row study-7, image 2: .*absent\.png: there is no such file") as caught:
            look(absent)
        assert (caught.value.row_id, caught.value.index, caught.value.reason) == ("study-7", 1, "missing_image")


def test_a_truncated_file_is_told_with_the_row():
    data = jpeg()
    with pytest.raises(ImageFault, match=r"row r1, image 1: .*cannot be decoded: .*truncated") as caught:
        open_images(shown(data[: len(data) // 2]))
    assert caught.value.reason == "undecodable_image"
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.reason) == (str(caught.value), "undecodable_image")


@given(st.data())
def test_damage_gives_an_image_or_a_fault_and_nothing_else(data):
    whole = bytearray(data.draw(st.sampled_from([png(40, 30), jpeg(), png(12, 12, "I;16", 900)])))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        whole[place] = data.draw(st.integers(0, 255))
    damaged = shown(bytes(whole[: data.draw(st.integers(1, len(whole)))]))
    for look in (image_sizes, open_images):
        try:
            assert len(look(damaged)) == 1
        except ImageFault as fault:
            assert fault.row_id == "r1"
