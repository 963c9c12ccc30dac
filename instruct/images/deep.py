"""PNG of 16 bits with colour or transparency, as luma of 16 bits.

Pillow keeps the upper byte of each of its values, and of a picture of twelve bits that is next to nothing. So its
decoder is asked a second time, for the lower bytes.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# How Pillow unpacks pixels that have more than it keeps, and what unpacks of the same pixels the lower bytes. For grey
# and alpha four single bytes do it, which are both.
_GREY_ALPHA = "LA;16B"
_LOWER = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", _GREY_ALPHA: "RGBA"}
# Pillow's weights of luma (ITU-R 601), of 65,536.
_LUMA = (19595, 38470, 7471)


def deep_luma(data: bytes) -> NDArray[np.uint16] | None:
    """Luma of a PNG of 16 bits with colour or transparency, transparent parts black; None for any other PNG.

    Raises:
        OSError: it is damaged; or another of the errors that Pillow raises then.
    """
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        kind, clear = image.tile[0].args, image.info.get("transparency")
    if kind not in _LOWER:
        return None
    if kind == _GREY_ALPHA:
        values = _unpacked(data, _LOWER[kind]).view(">u2")
        return _over_black(values[:, :, 0], values[:, :, 1])
    values = _unpacked(data, kind).astype(np.uint16) << 8
    values |= _unpacked(data, _LOWER[kind])
    total = np.full(values.shape[:2], 1 << 15, np.uint32)
    for channel, weight in enumerate(_LUMA):
        total += values[:, :, channel] * np.uint32(weight)
    luma = (total >> 16).astype(np.uint16)
    if values.shape[2] == 4:
        return _over_black(luma, values[:, :, 3])
    if clear is not None:  # one colour that stands for transparent
        luma[(values == np.array(clear, np.uint16)).all(axis=2)] = 0
    return luma


def _unpacked(data: bytes, how: str) -> NDArray[np.uint8]:
    """Pixels, shape (height, width, channels), unpacked in another way than Pillow's own choice."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        image.tile = [tile._replace(args=how) for tile in image.tile]
        return np.asarray(image)


def _over_black(luma: NDArray[Any], alpha: NDArray[Any]) -> NDArray[np.uint16]:
    shown: NDArray[np.uint16] = ((luma.astype(np.uint32) * alpha + 32767) // 65535).astype(np.uint16)
    return shown
