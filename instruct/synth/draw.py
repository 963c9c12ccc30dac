"""Pictures of a chest state: simple shapes that follow the state, with the boxes of what was drawn.

Only sums, products and comparisons are used, so the pixels do not depend on a machine's maths library.
As on a real frontal film the patient's right is at the image's left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from instruct.synth.canvas import Box, Canvas, Grid, Mask
from instruct.synth.keyed import Draws
from instruct.synth.state import ChestState

View = Literal["frontal", "lateral"]

_HEART_WIDTH = (0.125, 0.155, 0.185, 0.215)
_EFFUSION_TOP = (1.0, 0.78, 0.66, 0.52)
_OPACITY_SIZE = (0.0, 0.055, 0.075, 0.10)
_OPACITY_GREY = (0.0, 0.18, 0.28, 0.38)
_ZONE_CENTRE = ((0.29, 0.30), (0.27, 0.47), (0.29, 0.63), (0.71, 0.30), (0.73, 0.47), (0.72, 0.63))
_LEVELS = 4095


@dataclass(frozen=True, slots=True)
class Drawing:
    """A picture and where things are in it.

    Attributes:
        grey: brightness, float32, shape (height, width), 4,096 levels from 0 to 1.
        boxes: drawn thing → (x0, y0, x1, y1) as fractions of width and height, 0–1. Always ``heart``; frontal
            pictures also have ``right lung`` and ``left lung``; then ``opacity``, ``right effusion``,
            ``left effusion``, ``pneumothorax`` and ``device`` where the state has them and the view shows them.
    """

    grey: Grid
    boxes: dict[str, Box]

    def pixels8(self) -> NDArray[np.uint8]:
        """The picture as 8-bit grey."""
        return (self.grey * 255 + np.float32(0.5)).astype(np.uint8)

    def pixels16(self) -> NDArray[np.uint16]:
        """The picture as 16-bit grey, stretched so that it holds both 0 and 65535."""
        low, high = self.grey.min(), self.grey.max()
        stretched = (self.grey - low).astype(np.float64) * (65535.0 / float(high - low)) + 0.5
        pixels: NDArray[np.uint16] = stretched.clip(0, 65535).astype(np.uint16)
        return pixels


def draw_chest(
    state: ChestState, view: View, draws: Draws, index: int, *, height: int = 320, width: int = 264
) -> Drawing:
    """Draw one view of a chest.

    Args:
        state: what there is to see.
        view: ``"frontal"`` or ``"lateral"``.
        draws: source of displacement and noise.
        index: number of the picture under those draws.
        height: rows of the picture.
        width: columns of the picture.
    """
    stream = draws.stream("jitter", index)
    shift = ((stream.below(41) - 20) / 1000, (stream.below(41) - 20) / 1000)
    canvas = Canvas(height, width, shift, 0.03)
    if view == "frontal":
        _frontal(canvas, state)
    else:
        _lateral(canvas, state)
    words = (height * width + 3) // 4
    bits = draws.bits("noise", np.arange(words, dtype=np.int64) + (index << 24))
    halves = bits.astype("<u8").view("<u2")[: height * width].reshape(height, width)
    noise = halves.astype(np.float32) * np.float32(2**-16) - np.float32(0.5)
    grey = (canvas.grey + noise * np.float32(0.03)).clip(0, 1)
    levels: Grid = (grey * np.float32(_LEVELS)).astype(np.int32).astype(np.float32)
    return Drawing(levels / np.float32(_LEVELS), canvas.boxes)


def _frontal(canvas: Canvas, state: ChestState) -> None:
    canvas.towards(canvas.ellipse(0.5, 0.62, 0.47, 0.66, 0.1), 0.62)
    canvas.towards(canvas.ellipse(0.5, 0.02, 0.13, 0.22, 0.2), 0.60)
    reach = 0.29 + 0.03 * state.hyperinflation
    lungs = {"right": canvas.ellipse(0.29, 0.48, 0.165, reach), "left": canvas.ellipse(0.71, 0.48, 0.165, reach)}
    for side, lung in lungs.items():
        canvas.towards(lung, 0.24 - 0.05 * state.hyperinflation)
        canvas.ribs(lung, 0.16)
        canvas.note(f"{side} lung", lung)
    canvas.towards(canvas.ellipse(0.5, 0.5, 0.055, 0.6, 0.6), 0.74)
    _heart(canvas, 0.5 + 0.3 * _HEART_WIDTH[state.heart], 0.62, state.heart)
    if state.aorta:
        canvas.towards(canvas.ellipse(0.555, 0.33, 0.05, 0.05), 0.82)
    if state.opacity:
        _opacity(canvas, *_ZONE_CENTRE[state.zone], state.opacity)
    for side, level in (("right", state.effusion_right), ("left", state.effusion_left)):
        if level:
            fluid = canvas.below(lungs[side], _EFFUSION_TOP[level], 0.3)
            canvas.towards(fluid, 0.78)
            canvas.note(f"{side} effusion", fluid)
    if state.pneumothorax:
        side, cx = ("right", 0.29) if state.pneumothorax == 1 else ("left", 0.71)
        air = canvas.outside(lungs[side], canvas.ellipse(cx, 0.58, 0.15, 0.34, 0.08))
        canvas.towards(air, 0.10)
        canvas.note("pneumothorax", air)
    if state.granuloma:
        canvas.towards(canvas.ellipse(0.33, 0.36, 0.012, 0.012), 0.95)
    if state.fracture:
        canvas.towards(canvas.bar(0.82, 0.44, 0.86, 0.47, 0.008), 0.85)
    if state.degenerative:
        for level_y in (0.78, 0.84, 0.90):
            canvas.towards(canvas.bar(0.45, level_y, 0.55, level_y, 0.006), 0.92)
    if state.device:
        parts = _device(canvas, state.device)
        for part in parts:
            canvas.towards(part, 0.97)
        canvas.note("device", *parts)


def _lateral(canvas: Canvas, state: ChestState) -> None:
    canvas.towards(canvas.ellipse(0.5, 0.62, 0.42, 0.68, 0.1), 0.60)
    lung = canvas.ellipse(0.5, 0.47, 0.30 + 0.03 * state.hyperinflation, 0.33)
    canvas.towards(lung, 0.26)
    canvas.towards(canvas.ellipse(0.80, 0.52, 0.07, 0.55, 0.5), 0.78)
    _heart(canvas, 0.38, 0.60, state.heart)
    if state.opacity:
        _opacity(canvas, 0.58, _ZONE_CENTRE[state.zone][1], state.opacity)
    level = max(state.effusion_right, state.effusion_left)
    if level:
        fluid = canvas.below(lung, _EFFUSION_TOP[level], 0.2, middle=0.25)
        canvas.towards(fluid, 0.76)
        canvas.note("right effusion" if state.effusion_right >= state.effusion_left else "left effusion", fluid)
    if state.degenerative:
        for row in (0.55, 0.63, 0.71):
            canvas.towards(canvas.bar(0.75, row, 0.86, row, 0.006), 0.92)


def _heart(canvas: Canvas, cx: float, cy: float, level: int) -> None:
    half = _HEART_WIDTH[level]
    heart = canvas.ellipse(cx, cy, half, 0.10 + 0.35 * half)
    canvas.towards(heart, 0.80)
    canvas.note("heart", heart)


def _opacity(canvas: Canvas, cx: float, cy: float, level: int) -> None:
    size = _OPACITY_SIZE[level]
    cloud = canvas.ellipse(cx, cy, size, size * 0.85, 0.8)
    canvas.add(cloud, _OPACITY_GREY[level])
    canvas.note("opacity", cloud)


def _device(canvas: Canvas, device: int) -> list[Mask]:
    """Strokes of a device, in the order of :data:`instruct.synth.state.DEVICES`."""
    if device == 1:
        return [canvas.bar(0.18, 0.22, 0.46, 0.24, 0.006), canvas.bar(0.46, 0.24, 0.46, 0.46, 0.006)]
    if device == 2:
        return [canvas.ellipse(0.80, 0.26, 0.055, 0.045, 0.05), canvas.bar(0.80, 0.26, 0.56, 0.64, 0.006)]
    if device == 3:
        return [canvas.ellipse(0.22, 0.30, 0.03, 0.025, 0.05), canvas.bar(0.22, 0.30, 0.46, 0.44, 0.005)]
    return [canvas.bar(0.5, 0.02, 0.5, 0.28, 0.010)]
