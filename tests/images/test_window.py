from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruct.images.fault import ImageFault
from instruct.images.window import Display, Voi, to_grey
from tests.images.pictures import chest


def test_eight_bits_are_shown_as_they_are():
    pixels = chest()
    grey, window = to_grey(pixels, Display(as_is=True))
    assert (grey == pixels).all()
    assert (window.method, window.low, window.high, window.inverted) == ("none", 0, 255, False)


def test_percentiles_leave_a_burned_in_letter_out():
    values = chest(200, 160, 3000)
    values[:6, :6] = 65535
    grey, window = to_grey(values, Display())
    low, high = np.percentile(values, [0.5, 99.5])
    assert (window.method, window.low, window.high) == ("percentile", low, high) and high < 3001
    expected = np.clip(np.rint((values.astype(float) - low) / (high - low) * 255), 0, 255)
    assert np.abs(grey - expected).max() <= 1  # 32-bit arithmetic, at a half


def test_few_values_are_shown_from_the_lowest_to_the_highest():
    values = np.zeros((100, 100), np.uint16)
    values[3, 4] = 700
    grey, window = to_grey(values, Display())
    assert (window.method, window.low, window.high) == ("min_max", 0, 700)
    assert grey[3, 4] == 255 and grey.sum() == 255


@pytest.mark.parametrize(
    ("voi", "black", "white", "middle"),
    [
        (Voi("linear", 2048, 4096), 0, 4095, 2047.5),  # the example of PS3.3 C.11.2.1.2: the whole of 12 bits
        (Voi("linear", 2048, 1), 2047, 2048, None),
        (Voi("linear_exact", 2048, 100), 1998, 2098, 2048),
    ],
)
def test_a_linear_window_is_that_of_the_standard(voi, black, white, middle):
    assert voi.ends == pytest.approx((black, white) if voi.width > 1 else (2047.5, 2047.5), abs=1e-5)
    values = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
    grey, window = to_grey(values, Display(voi=voi))
    flat = grey.ravel()
    assert window.method == f"voi_{voi.function}"
    assert flat[int(black)] == 0 and flat[int(white)] == 255 and (np.diff(flat.astype(int)) >= 0).all()
    if middle is not None:
        assert abs(int(flat[int(middle)]) - 127.5) <= 1.5


def test_a_sigmoid_window_is_that_of_the_standard():
    values = np.arange(0, 4096, dtype=np.uint16).reshape(64, 64)
    grey, window = to_grey(values, Display(voi=Voi("sigmoid", 2000, 800)))
    expected = 255 / (1 + np.exp(-4 * (np.arange(4096) - 2000) / 800))
    assert np.abs(grey.ravel() - expected).max() <= 0.5
    assert (window.low, window.high) == (1600, 2400)


def test_a_table_is_looked_up():
    values = np.arange(0, 256, dtype=np.uint16).reshape(16, 16)
    lut = np.linspace(0.2, 0.9, 100) ** 1.5
    grey, window = to_grey(values, Display(lut=lut, lut_first=50))
    assert np.abs(grey.ravel()[50:150] - lut * 255).max() <= 0.5
    assert set(grey.ravel()[:50]) == {grey.ravel()[50]} and set(grey.ravel()[150:]) == {grey.ravel()[149]}
    assert (window.method, window.low, window.high) == ("voi_lut", 50, 149)


def test_padding_moves_no_percentile():
    values = chest(200, 160, 3000)
    _, known = to_grey(values, Display())
    for inverted, slope in ((False, 1.0), (True, 1.0), (False, -1.0), (True, -1.0)):
        dark = values.max() if inverted != (slope < 0) else values.min()
        padded = np.concatenate([values, np.full((300, 160), dark, np.uint16)])
        grey, window = to_grey(padded, Display(inverted=inverted, slope=slope, padding=0.6))
        ends = sorted((known.low * slope, known.high * slope))
        assert (window.low, window.high) == pytest.approx(tuple(ends), abs=2)
        assert not grey[200:].any()


@given(st.floats(-3, 3).filter(lambda slope: abs(slope) > 0.05), st.floats(-2000, 2000), st.booleans(), st.booleans())
def test_rescaling_moves_the_window_not_the_picture(slope, intercept, own, inverted):
    values = chest(60, 50, 4000)
    voi = Voi("linear_exact", 2000 * slope + intercept, abs(3000 * slope)) if own else None
    grey, window = to_grey(values, Display(slope=slope, intercept=intercept, voi=voi, inverted=inverted))
    plain, known = to_grey(values, Display(voi=Voi("linear_exact", 2000, 3000) if own else None))
    turned = (slope < 0) != inverted
    assert np.abs(grey.astype(int) - (255 - plain.astype(int) if turned else plain)).max() <= 1
    ends = sorted((known.low * slope + intercept, known.high * slope + intercept))
    assert (window.low, window.high) == pytest.approx(tuple(ends), abs=1e-3)
    assert window.inverted == inverted


def test_a_window_that_shows_nothing_is_passed_over():
    values = chest(60, 50, 4000)
    for useless in (Display(voi=Voi("linear", 60000, 10)), Display(lut=np.full(10, 0.7), lut_first=0)):
        grey, window = to_grey(values, useless)
        assert window.method == "percentile" and grey.max() == 255


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.float32])
def test_one_value_everywhere_is_no_image(kind):
    with pytest.raises(ImageFault, match="every pixel is 7") as caught:
        to_grey(np.full((20, 20), 7, kind), Display(as_is=kind == np.uint8))
    assert caught.value.reason == "constant_image"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(value):
    values = chest().astype(np.float32)
    values[5, 5] = value
    with pytest.raises(ImageFault, match="no finite numbers"):
        to_grey(values, Display())
