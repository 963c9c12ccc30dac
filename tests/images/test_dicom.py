from __future__ import annotations

import sys

import numpy as np
import pytest

from instruct.errors import UsageError
from instruct.images.fault import ImageFault
from instruct.images.store import ImagePolicy, StoredImage, store_image
from instruct.reasons import Reason
from tests.images.pictures import chest, dicom, opened

LOSSLESS = ImagePolicy("long", 4000, "png")
VALUES = chest(top=4095)


def stored(data: bytes) -> StoredImage:
    return store_image(data, LOSSLESS)


def grey(data: bytes) -> np.ndarray:
    return opened(stored(data).data).astype(int)


def windowed(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip((values.astype(float) - low) / (high - low) * 255, 0, 255)


@pytest.mark.parametrize("tools", ["pillow", "fast"])
def test_a_window_of_the_file(tools):
    data = dicom(VALUES, BitsStored=12, HighBit=11, WindowCenter=2000, WindowWidth=1001)
    found = store_image(data, ImagePolicy("long", 4000, "png", tools))
    assert (found.window.method, found.window.low, found.window.high) == ("voi_linear", 1499.5, 2499.5)
    assert np.abs(opened(found.data) - windowed(VALUES, 1499.5, 2499.5)).max() <= 0.51


def test_without_a_window_percentiles():
    found = stored(dicom(VALUES, BitsStored=12, HighBit=11))
    low, high = np.percentile(VALUES, [0.5, 99.5])
    assert (found.window.method, found.window.low, found.window.high) == ("percentile", low, high)


def test_the_first_of_several_windows_and_empty_ones():
    several = dicom(VALUES, WindowCenter=[2000, 300], WindowWidth=[1001, 20])
    assert stored(several).window.low == 1499.5
    for centre, width in (("", ""), (2000, 0), (None, None)):
        assert stored(dicom(VALUES, WindowCenter=centre, WindowWidth=width)).window.method == "percentile"


def test_monochrome1_is_inverted_last():
    plain = grey(dicom(VALUES, WindowCenter=2000, WindowWidth=1001))
    found = stored(dicom(VALUES, WindowCenter=2000, WindowWidth=1001, PhotometricInterpretation="MONOCHROME1"))
    assert found.window.inverted and found.window.low == 1499.5
    assert (opened(found.data).astype(int) == 255 - plain).all()
    eight = chest()
    assert (grey(dicom(eight)) == eight).all() and stored(dicom(eight)).window.method == "none"
    assert (grey(dicom(eight, PhotometricInterpretation="MONOCHROME1")) == 255 - eight.astype(int)).all()


def test_rescale_comes_before_the_window():
    data = dicom(VALUES, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=3000, WindowWidth=2001)
    found = stored(data)
    assert (found.window.low, found.window.high) == (1999.5, 3999.5)
    assert np.abs(opened(found.data) - windowed(VALUES * 2.0 - 1000, 1999.5, 3999.5)).max() <= 0.51


def test_signed_values_and_bits_that_do_not_count():
    signed = VALUES.astype(np.int16) - 2000
    found = stored(dicom(signed, WindowCenter=0, WindowWidth=2001))
    assert np.abs(opened(found.data) - windowed(signed, -1000.5, 999.5)).max() <= 0.51
    narrow = (signed & 0x0FFF).astype(np.int16)  # 12 bits, sign in bit 11
    kept = np.where(narrow > 2047, narrow - 4096, narrow)
    assert (
        grey(dicom(narrow, BitsStored=12, HighBit=11, WindowCenter=0, WindowWidth=2001))
        == grey(dicom(kept.astype(np.int16), WindowCenter=0, WindowWidth=2001))
    ).all()
    overlay = VALUES | np.uint16(0x8000)
    assert (grey(dicom(overlay, BitsStored=12, HighBit=11)) == grey(dicom(VALUES))).all()


def test_other_window_functions_and_tables():
    from pydicom.dataset import Dataset

    assert stored(dicom(VALUES, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT")).window.low == 1500
    sigmoid = dicom(VALUES, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (VALUES.astype(float) - 2000) / 1000))
    assert np.abs(grey(sigmoid) - expected).max() <= 0.51
    with pytest.raises(ImageFault, match="VOI LUT function CURVED is not read"):
        stored(dicom(VALUES, WindowCenter=1, WindowWidth=2, VOILUTFunction="CURVED"))

    table = Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (np.arange(4096) ** 2 // 256).astype(np.uint16).tolist()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    found = stored(dicom(VALUES, VOILUTSequence=[table]))
    assert found.window.method == "voi_lut"
    curve = np.array(table.LUTData, float)
    assert np.abs(opened(found.data) - curve[VALUES] / 65535 * 255).max() <= 0.51


@pytest.mark.parametrize(("bits", "first"), [(12, 0), (16, 0), (12, 500)])
def test_a_table_of_the_file_is_scaled_by_its_bits(bits, first):
    """A table that does not use all of its greys does not get all of ours (PS3.3 C.11.2.1.1)."""
    import io

    import pydicom
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_voi_lut

    table = Dataset()
    table.LUTDescriptor, table.LUTData = [3000, first, bits], (1000 + np.arange(3000) // 2).astype(np.uint16).tolist()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    data = dicom(VALUES, BitsStored=12, HighBit=11, VOILUTSequence=[table])
    dataset = pydicom.dcmread(io.BytesIO(data))
    expected = apply_voi_lut(dataset.pixel_array, dataset) / (2**bits - 1) * 255
    assert np.abs(grey(data) - expected).max() <= 0.51
    assert stored(data).window.method == "voi_lut"


def test_a_table_of_more_than_its_bits_does_not_saturate():
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor, table.LUTData = [4096, 0, 10], np.arange(4096).astype(np.uint16).tolist()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    assert np.abs(grey(dicom(VALUES, VOILUTSequence=[table])) - VALUES / 4095 * 255).max() <= 0.51


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("slope", [1, -1, -2.5])
@pytest.mark.parametrize("kind", ["MONOCHROME2", "MONOCHROME1"])
def test_padding_is_dark_and_moves_no_window(kind, slope, share):
    fields = {"PhotometricInterpretation": kind, "RescaleSlope": slope, "RescaleIntercept": 0 if slope > 0 else 20000}
    inner = np.maximum(VALUES, 100)
    border = int(inner.shape[1] * share / (1 - share))
    padded = np.pad(inner, ((0, 0), (border, 0)))
    alone, found = stored(dicom(inner, **fields)), stored(dicom(padded, PixelPaddingValue=0, **fields))
    assert opened(found.data)[:, :border].max() == 0
    assert (found.window.low, found.window.high) == pytest.approx((alone.window.low, alone.window.high), abs=4)
    assert np.abs(opened(found.data)[:, border:].astype(int) - opened(alone.data)).max() <= 1
    own = fields | {"WindowCenter": 2000 * slope + fields["RescaleIntercept"], "WindowWidth": abs(3000 * slope)}
    found = stored(dicom(padded, PixelPaddingValue=0, **own))
    assert found.window.method == "voi_linear" and opened(found.data)[:, :border].max() < 20
    assert (opened(found.data)[:, border:] == opened(stored(dicom(inner, **own)).data)).all()


def test_padding_is_dark_after_a_table_that_turns_values_over():
    from pydicom.dataset import Dataset

    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "US"
    table.LUTData = (5000 - np.arange(4096)).astype(np.uint16).tolist()
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "US"
    padded = np.maximum(VALUES, 100)
    padded[:, :20] = 0
    found = opened(stored(dicom(padded, PixelPaddingValue=0, ModalityLUTSequence=[table])).data)
    assert found[:, :20].max() == 0 and found[:, 20:].max() == 255


@pytest.mark.parametrize(
    ("syntax", "codec", "settings"),
    [
        ("1.2.840.10008.1.2.4.90", "jpeg2k_encode", {"level": 0, "reversible": True, "codecformat": "J2K"}),
        ("1.2.840.10008.1.2.4.57", "ljpeg_encode", {"bitspersample": 12}),
        ("1.2.840.10008.1.2.4.70", "ljpeg_encode", {"bitspersample": 12}),
        ("1.2.840.10008.1.2.4.80", "jpegls_encode", {}),
    ],
)
def test_lossless_compression_changes_nothing(syntax, codec, settings):
    import imagecodecs

    frame = getattr(imagecodecs, codec)(VALUES, **settings)
    plain = dicom(VALUES, BitsStored=12, HighBit=11)
    packed = dicom(VALUES, syntax, frame, BitsStored=12, HighBit=11)
    assert stored(packed) == stored(plain)
    for data in (packed[: len(packed) * 2 // 3], packed[:-500] + bytes(500)):
        with pytest.raises(ImageFault) as caught:
            stored(data) if len(data) < len(packed) else stored(data[:400] + bytes(len(data) - 400))
        assert caught.value.reason in (Reason.UNDECODABLE_IMAGE, Reason.CONSTANT_IMAGE)


def test_baseline_jpeg_and_rle():
    import imagecodecs
    import pydicom.pixels.encoders

    eight = chest()
    frame = imagecodecs.jpeg_encode(eight, level=98)
    assert np.abs(grey(dicom(eight, "1.2.840.10008.1.2.4.50", frame)) - eight).max() <= 4
    encoder = pydicom.pixels.encoders.RLELosslessEncoder
    frame = encoder.encode(
        VALUES, encoding_plugin="pydicom", rows=120, columns=96, samples_per_pixel=1, bits_allocated=16, bits_stored=16,
        pixel_representation=0, photometric_interpretation="MONOCHROME2", number_of_frames=1,
    )  # fmt: skip
    assert stored(dicom(VALUES, "1.2.840.10008.1.2.5", frame)) == stored(dicom(VALUES))


def test_colour_becomes_luma():
    colour = np.stack([chest(seed=seed) for seed in range(3)], axis=2)
    expected = colour @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey(dicom(colour)) - expected).max() <= 1


@pytest.mark.parametrize(
    ("fields", "reason", "says"),
    [
        ({"NumberOfFrames": 2}, Reason.SEVERAL_FRAMES, "2 frames"),
        ({"Rows": 20000, "Columns": 20000}, Reason.IMAGE_TOO_LARGE, "20000 x 20000"),
        ({"Rows": 1, "Columns": 1}, Reason.IMAGE_TOO_SMALL, "1 x 1"),
        ({"Rows": 4000}, Reason.UNDECODABLE_IMAGE, "expected 768,000"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.UNDECODABLE_IMAGE, "PALETTE COLOR is not read"),
        ({"BitsAllocated": 32, "BitsStored": 32}, Reason.UNDECODABLE_IMAGE, "of 32 bits"),
    ],
)
def test_what_is_not_read(fields, reason, says):
    with pytest.raises(ImageFault, match=says) as caught:
        stored(dicom(VALUES, **fields))
    assert caught.value.reason == reason


def test_an_unknown_transfer_syntax_and_a_file_cut_off():
    with pytest.raises(ImageFault, match=r"transfer syntax 1\.2\.840\.10008\.1\.2\.4\.102 is not read"):
        stored(dicom(VALUES, "1.2.840.10008.1.2.4.102", b"\0" * 100))
    data = dicom(VALUES)
    for length in (132, 200, 600, len(data) - 10):
        with pytest.raises(ImageFault) as caught:
            stored(data[:length])
        assert caught.value.reason == Reason.UNDECODABLE_IMAGE


def test_without_the_extra_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UsageError, match=r"pip install 'cxr-instruct\[dicom\]'"):
        stored(dicom_bytes)


dicom_bytes = dicom(VALUES)
