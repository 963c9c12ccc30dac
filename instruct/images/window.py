"""Windows: which stored values become black and white. One rule, and what it gave is kept with each image.

1. An image of 8 bits (PNG, JPEG, or DICOM with 8 bits and no window of its own) is shown as it is: ``none``.
2. A DICOM file's own window, the first where it has several, is applied after its rescale slope and intercept as PS3.3
   C.11.2 says: ``voi_linear``, ``voi_linear_exact``, ``voi_sigmoid``, or its table: ``voi_lut``.
   A window that makes the whole image one grey is passed over.
3. Everything else is shown from the 0.5th to the 99.5th percentile of the resized image, padding of DICOM
   aside: ``percentile``. Where these are equal, from the lowest to the highest value: ``min_max``.

What DICOM calls MONOCHROME1 (high values dark) is inverted last.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct.images.fault import ImageFault, undecodable
from instruct.reasons import Reason

PERCENTILES = (0.5, 99.5)
Eight = NDArray[np.uint8]


@dataclass(frozen=True)
class Voi:
    """A window that a file brings along.

    Attributes:
        function: ``linear``, ``linear_exact`` or ``sigmoid``, as PS3.3 C.11.2.1.3 defines them.
        centre: centre in rescaled values.
        width: width in rescaled values; at least 1 for ``linear``, more than 0 otherwise.
    """

    function: str
    centre: float
    width: float

    @property
    def ends(self) -> tuple[float, float]:
        """The rescaled values that become black and white; of a sigmoid, those a width apart."""
        if self.function == "linear":
            low = self.centre - 0.5 - (self.width - 1) / 2
            return low, low + max(self.width - 1, 1e-6)
        return self.centre - self.width / 2, self.centre + self.width / 2


@dataclass(frozen=True)
class Display:
    """What a file says of how its values are to be shown.

    Attributes:
        as_is: whether the values are grey levels 0-255 already.
        slope: rescaled value = slope * value + intercept.
        intercept: see ``slope``.
        voi: the file's window.
        lut: the file's table of output values, black 0 and white 1; its first one stands for the rescaled value
            ``lut_first``.
        lut_first: see ``lut``.
        inverted: whether high values are dark.
        padding: share of the pixels that are no part of the picture; they have the value of the darkest one that is.
    """

    as_is: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    voi: Voi | None = None
    lut: NDArray[np.float64] | None = None
    lut_first: float = 0.0
    inverted: bool = False
    padding: float = 0.0


@dataclass(frozen=True)
class Window:
    """The window an image got.

    Attributes:
        method: ``none``, ``voi_linear``, ``voi_linear_exact``, ``voi_sigmoid``, ``voi_lut``, ``percentile`` or
            ``min_max``.
        low: rescaled value that became black (white, where inverted).
        high: rescaled value that became white (black, where inverted).
        inverted: whether the image was inverted afterwards.
    """

    method: str
    low: float
    high: float
    inverted: bool


def to_grey(values: NDArray[Any], display: Display) -> tuple[Eight, Window]:
    """Stored values to grey levels 0-255.

    Args:
        values: shape (height, width), any number type.
        display: what the file says.

    Raises:
        ImageFault: all values are equal, or some are no numbers.
    """
    lowest, highest = float(values.min()), float(values.max())
    if not np.isfinite(lowest) or not np.isfinite(highest):
        raise undecodable("some of its values are no finite numbers")
    if lowest == highest:
        raise ImageFault(Reason.CONSTANT_IMAGE, f"every pixel is {lowest:g}")
    if display.as_is:  # nothing to choose
        grey, method, low, high = values.astype(np.uint8, copy=False), "none", 0.0, 255.0
    elif display.lut is not None:
        grey, method = _by_table(values, display), "voi_lut"
        low, high = display.lut_first, display.lut_first + len(display.lut) - 1
    elif display.voi is not None:
        low, high = display.voi.ends
        method = f"voi_{display.voi.function}"
        grey = (
            _sigmoid(values, display, display.voi)
            if display.voi.function == "sigmoid"
            else _line(values, (low - display.intercept) / display.slope, (high - display.intercept) / display.slope)
        )
    else:
        first, last = (float(value) for value in np.percentile(values, _percentiles(display)))
        method = "percentile"
        if first == last:
            first, last, method = lowest, highest, "min_max"
        grey = _line(values, first, last)
        low, high = (value * display.slope + display.intercept for value in (first, last))
        if display.slope < 0:
            grey, low, high = 255 - grey, high, low
    if grey.min() == grey.max() and (display.voi is not None or display.lut is not None):
        return to_grey(values, replace(display, voi=None, lut=None))
    if display.inverted:
        grey = 255 - grey
    return grey, Window(method, low, high, display.inverted)


def _percentiles(display: Display) -> list[float]:
    """The percentiles of all values that are :data:`PERCENTILES` of those without padding, which is the dark end."""
    before = 0.0 if display.inverted != (display.slope < 0) else 100 * display.padding
    return [before + percentile * (1 - display.padding) for percentile in PERCENTILES]


def _line(values: NDArray[Any], low: float, high: float) -> Eight:
    """0 up to one value, 255 from another on, in a straight line between; rounded to the nearest."""
    scaled = (values.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    grey: Eight = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return grey


def _sigmoid(values: NDArray[Any], display: Display, voi: Voi) -> Eight:
    rescaled = values.astype(np.float64) * display.slope + display.intercept
    with np.errstate(over="ignore"):
        grey: Eight = np.rint(255 / (1 + np.exp(-4 * (rescaled - voi.centre) / voi.width))).astype(np.uint8)
    return grey


def _by_table(values: NDArray[Any], display: Display) -> Eight:
    assert display.lut is not None
    rescaled = values.astype(np.float64) * display.slope + display.intercept
    places = np.clip(np.rint(rescaled - display.lut_first), 0, len(display.lut) - 1).astype(np.int64)
    grey: Eight = np.rint(display.lut * 255).astype(np.uint8)[places]
    return grey
