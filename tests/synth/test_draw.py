import numpy as np
import pytest

from instruct.synth.draw import draw_chest
from instruct.synth.keyed import Draws
from instruct.synth.state import DEVICES, ZONES, ChestState

DRAWS = Draws(0, "draw")
FULL = ChestState(3, 2, 1, 3, 0, 2, 2, 1, 1, 1, 1, 1)


def patch(drawing, box):
    height, width = drawing.grey.shape
    x0, y0, x1, y1 = box
    return drawing.grey[int(y0 * height) : int(y1 * height), int(x0 * width) : int(x1 * width)]


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_same_picture_again_and_another_for_another_index(view):
    one, two, other = (draw_chest(FULL, view, DRAWS, k) for k in (3, 3, 4))
    assert np.array_equal(one.grey, two.grey)
    assert one.boxes == two.boxes
    assert not np.array_equal(one.grey, other.grey)


@pytest.mark.parametrize("view", ["frontal", "lateral"])
@pytest.mark.parametrize("shape", [(320, 264), (256, 312), (65, 47)])
def test_shape_range_and_boxes(view, shape):
    drawing = draw_chest(FULL, view, DRAWS, 1, height=shape[0], width=shape[1])
    assert drawing.grey.shape == shape
    assert drawing.grey.dtype == np.float32
    assert 0 <= drawing.grey.min() < 0.1 and 0.7 < drawing.grey.max() <= 1
    for x0, y0, x1, y1 in drawing.boxes.values():
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1


def test_pixels():
    drawing = draw_chest(FULL, "frontal", DRAWS, 1)
    assert drawing.pixels8().dtype == np.uint8
    wide = drawing.pixels16()
    assert wide.dtype == np.uint16
    assert (wide.min(), wide.max()) == (0, 65535)
    assert len(np.unique(wide)) > 1000


@pytest.mark.parametrize("view", ["frontal", "lateral"])
def test_the_heart_grows_with_its_level(view):
    widths = []
    for level in range(4):
        x0, _, x1, _ = draw_chest(ChestState(heart=level), view, DRAWS, 5).boxes["heart"]
        widths.append(x1 - x0)
    assert widths == sorted(set(widths))
    assert widths[3] > 1.4 * widths[0]


@pytest.mark.parametrize("zone", range(6))
def test_an_opacity_is_bright_and_in_its_zone(zone):
    clear = draw_chest(ChestState(), "frontal", DRAWS, 6)
    drawing = draw_chest(ChestState(opacity=3, zone=zone), "frontal", DRAWS, 6)
    box = drawing.boxes["opacity"]
    assert patch(drawing, box).mean() > patch(clear, box).mean() + 0.1
    side, level = ZONES[zone].split()
    assert (box[0] + box[2] < 1) == (side == "right")
    middle = (box[1] + box[3]) / 2
    low, high = {"upper": (0.2, 0.38), "mid": (0.38, 0.55), "lower": (0.55, 0.75)}[level]
    assert low < middle < high


def test_effusions_rise_with_their_level_on_their_side():
    for side in ("right", "left"):
        tops = []
        for level in (1, 2, 3):
            box = draw_chest(ChestState(**{f"effusion_{side}": level}), "frontal", DRAWS, 7).boxes[f"{side} effusion"]
            assert (box[0] + box[2] < 1) == (side == "right")
            tops.append(box[1])
        assert tops == sorted(tops, reverse=True)


@pytest.mark.parametrize("device", range(1, len(DEVICES)))
def test_every_device_leaves_a_bright_mark(device):
    drawing = draw_chest(ChestState(device=device), "frontal", DRAWS, 8)
    assert patch(drawing, drawing.boxes["device"]).max() > 0.9
    assert "device" not in draw_chest(ChestState(), "frontal", DRAWS, 8).boxes


def test_a_pneumothorax_is_dark_and_on_its_side():
    drawing = draw_chest(ChestState(pneumothorax=2), "frontal", DRAWS, 9)
    box = drawing.boxes["pneumothorax"]
    assert box[0] > 0.5
    assert patch(drawing, box).min() < 0.12
