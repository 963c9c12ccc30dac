"""Decode: from the bytes of an image file to grey values of the size that is wanted, at the depth they were stored.

What decides is the content, not the file's name. Colour becomes luma (ITU-R 601), transparency black, EXIF orientation
is applied.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, Jpeg2KImagePlugin, TiffImagePlugin, UnidentifiedImageError, WebPImagePlugin

from instruct.images.backend import Backend
from instruct.images.deep import deep_luma
from instruct.images.dicom import is_dicom, read_dicom
from instruct.images.fault import ImageFault, check_size, undecodable
from instruct.images.geometry import Fit, Geometry, fit
from instruct.images.window import Display
from instruct.reasons import Reason

# No format that runs programs or fetches files. Pillow knows the last three only once they are imported.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000")
_IMPORTED = (TiffImagePlugin, WebPImagePlugin, Jpeg2KImagePlugin)
_ORIENTATION = 0x0112
_BITS, _PHOTOMETRIC = 258, 262  # of TIFF
# EXIF orientation to what Pillow calls the way back; 5 to 8 lie on their side.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DEEP = {"I;16": np.uint16, "I;16L": np.uint16, "I;16B": np.uint16, "I;16N": np.uint16, "I": np.int32, "F": np.float32}


@dataclass(frozen=True)
class Decoded:
    """An image of the size it is stored in, before it is windowed.

    Attributes:
        values: grey values, shape (height, width) of the geometry's content.
        display: what the file says of how they are shown.
        geometry: from the published image to the stored one.
    """

    values: NDArray[Any]
    display: Display
    geometry: Geometry


def decode(data: bytes, how: Fit, side: int, tools: Backend) -> Decoded:
    """Decode an image file and resize it.

    Args:
        data: the file.
        how: which side is given.
        side: its length in pixels.
        tools: the backend.

    Raises:
        ImageFault: it is no image, is damaged, too large, too small, or has several frames.
        UsageError: it is a DICOM file, and the ``[dicom]`` extra is not installed.
    """
    if not data:
        raise undecodable("the file is empty")
    if is_dicom(data):
        values, display = read_dicom(data)
        height, width = values.shape
        geometry = fit((width, height), how, side)
        return Decoded(tools.resize(values, geometry.content), display, geometry)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            return _decode(image, data, how, side, tools)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageFault(Reason.IMAGE_TOO_LARGE, str(error)) from None
    except UnidentifiedImageError:
        raise undecodable(f"its content is no image (it begins with {data[:8]!r})") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error) as error:
        # Whatever Pillow's readers stumble over in a damaged file; memory and interrupts are not theirs.
        raise undecodable(str(error) or type(error).__name__) from None


def _decode(image: Image.Image, data: bytes, how: Fit, side: int, tools: Backend) -> Decoded:
    check_size(image.width, image.height)
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageFault(Reason.SEVERAL_FRAMES, f"{frames} frames")
    turn = _orientation(image, data)
    lying = turn in (5, 6, 7, 8)
    geometry = fit((image.height, image.width) if lying else image.size, how, side)
    content = geometry.content[::-1] if lying else geometry.content
    values, extent = _values(image, data, content, tools)
    values = tools.resize(values, content, extent)
    if turn in _UPRIGHT:
        values = np.asarray(Image.fromarray(values).transpose(_UPRIGHT[turn]))
    return Decoded(values, Display(as_is=values.dtype == np.uint8, inverted=_white_is_zero(image)), geometry)


def _white_is_zero(image: Image.Image) -> bool:
    """Whether a TIFF's high values are dark. Pillow turns those of 8 bits and fewer itself, and leaves deeper ones."""
    return (
        isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode in _DEEP and image.tag_v2.get(_PHOTOMETRIC) == 0
    )


def _orientation(image: Image.Image, data: bytes) -> int:
    """EXIF orientation. A PNG is asked only if it has any: Pillow decodes it to find out."""
    if image.format == "PNG" and "exif" not in image.info and b"eXIf" not in data:
        return 1
    return int(image.getexif().get(_ORIENTATION, 1))


def _values(
    image: Image.Image, data: bytes, size: tuple[int, int], tools: Backend
) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """Grey values at the image's depth, perhaps already smaller, and the extent of them that the image covers."""
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        width, height = image.size
        found = tools.jpeg(data, (width, height), size)
        if found is not None:
            return found
        drawn = image.draft("L", size)
        grey = np.asarray(image if image.mode == "L" else image.convert("L"))
        scale = _scale(width, image.width) if drawn else 1
        return grey, (width / scale, height / scale)
    if image.format == "PNG" and image.mode in ("L", "I;16"):
        values = tools.png(data)
        if values is not None:
            return values, None
    if image.format == "PNG" and image.mode in ("RGB", "RGBA"):
        luma = deep_luma(data)
        if luma is not None:
            return luma, None
    if image.mode in _DEEP:
        return np.asarray(image).astype(_DEEP[image.mode], copy=False), None
    if isinstance(image, TiffImagePlugin.TiffImageFile) and max(image.tag_v2.get(_BITS, (8,))) > 8:
        raise undecodable("TIFF colour of more than 8 bits is not read")  # Pillow would drop the lower bits
    return np.asarray(_flat(image)), None


def _scale(full: int, scaled: int) -> int:
    """By what libjpeg scaled: 1, 2, 4 or 8; the scaled side is rounded up."""
    return next(scale for scale in (1, 2, 4, 8) if -(-full // scale) == scaled)


def _flat(image: Image.Image) -> Image.Image:
    """Any 8-bit image as grey levels, transparent parts black."""
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba).convert("RGB")
    elif image.mode not in ("1", "L", "RGB"):
        image = image.convert("RGB")
    return image.convert("L")
