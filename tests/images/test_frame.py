"""The size that a compressed frame claims is known before it is decoded: bombs in DICOM files."""

from __future__ import annotations

import io
import tracemalloc

import imagecodecs
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from instruct.images.fault import ImageFault
from instruct.images.frame import frame_size
from instruct.images.store import ImagePolicy, store_image
from instruct.reasons import Reason
from tests.images.pictures import chest, dicom, saved

ENCODERS = {
    "1.2.840.10008.1.2.4.50": lambda values: imagecodecs.jpeg_encode(values, level=90),
    "1.2.840.10008.1.2.4.70": imagecodecs.ljpeg_encode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_encode,
    "1.2.840.10008.1.2.4.90": lambda values: imagecodecs.jpeg2k_encode(values, level=0, codecformat="J2K"),
}
SYNTAXES = pytest.mark.parametrize("syntax", ENCODERS)


@SYNTAXES
@given(width=st.integers(8, 300), height=st.integers(8, 300))
def test_the_size_of_a_frame(syntax, width, height):
    assert frame_size(ENCODERS[syntax](chest(height, width))) == (width, height)


def test_a_frame_with_much_before_its_size():
    pixels = Image.fromarray(chest(40, 30))
    for settings in ({"progressive": True}, {"comment": b"x" * 60_000}, {"icc_profile": b"y" * 100_000}):
        assert frame_size(saved(pixels.convert("RGB"), "JPEG", **settings)) == (30, 40)
    boxed = imagecodecs.jpeg2k_encode(chest(40, 30), codecformat="JP2")  # not allowed in DICOM, and met there
    assert frame_size(boxed) == (30, 40)


@given(st.binary(max_size=80), st.sampled_from([b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\x4f\xff\x51"]))
def test_what_is_no_frame_has_no_size_and_ends(noise, start):
    size = frame_size(start + noise)
    assert size is None or len(size) == 2


def fault(data: bytes) -> ImageFault:
    """What is wrong with a file; finding it out takes less memory than its pixels would."""
    tracemalloc.start()
    try:
        with pytest.raises(ImageFault) as caught:
            store_image(data, ImagePolicy())
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.reason == Reason.UNDECODABLE_IMAGE
    return caught.value


@SYNTAXES
def test_a_frame_larger_than_its_header_says_is_not_decoded(syntax):
    frame = ENCODERS[syntax](np.zeros((2500, 3000), np.uint8))
    found = fault(dicom(chest(120, 96), syntax, frame))
    assert found.detail == "the DICOM header says 96 x 120 pixels; the frame in it (3000, 2500)"


def test_deflated_files_are_not_inflated():
    dataset = pydicom.dcmread(io.BytesIO(dicom(chest())))
    dataset.add_new(0x00091010, "OB", bytes(50 << 20))
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    assert len(file.getvalue()) < 1 << 20
    assert "(deflated) is not read" in fault(file.getvalue()).detail


def test_run_lengths_of_more_bytes_than_the_image_has():
    found = fault(dicom(chest(), "1.2.840.10008.1.2.5", b"\x81\0" * 100_000))
    assert "holds 200,020 bytes for 96 x 120 pixels" in found.detail
