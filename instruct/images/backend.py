"""Backends: the libraries that resize and encode. Pillow is the reference, and needs nothing but the core.

``fast`` (the ``[fast]`` extra: OpenCV, imagecodecs, simplejpeg) is quicker and gives slightly other pixels, within what
JPEG at quality 95 changes anyway. Which one, and its versions, are part of what names a shard.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from instruct.errors import UsageError
from instruct.images.geometry import Size

BackendName = Literal["pillow", "fast"]
Encoding = Literal["jpeg", "png"]
Values = NDArray[Any]
JPEG_QUALITY = 95

# An image is halved, by plain means, for as long as the rest is a reduction by at least this much.
_REST = 1.5


class Backend(Protocol):
    """What a backend does."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Library to its version: what can change pixels or bytes."""

    def jpeg(self, data: bytes, full: Size, size: Size) -> tuple[Values, tuple[float, float]] | None:
        """Decode a JPEG's grey levels no larger than needed for a size; None where this backend leaves it to Pillow.

        Args:
            data: the file.
            full: width and height of its image.
            size: those that are wanted.

        Returns:
            The grey levels, and the width and height that the image covers of them (the last column or row of a
            scaled image may stand for less than a pixel).
        """

    def png(self, data: bytes) -> Values | None:
        """Decode a grey PNG of 8 or 16 bits; None where this backend leaves it to Pillow."""

    def resize(self, values: Values, size: Size, extent: tuple[float, float] | None = None) -> Values:
        """Resize with antialiasing; ``extent`` is the width and height to take of the values."""

    def encode(self, grey: NDArray[np.uint8], encoding: Encoding) -> bytes:
        """Encode grey levels as an image file of one channel."""


class PillowBackend:
    """The reference: bicubic, with the support widened by the reduction."""

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """See :class:`Backend`."""
        from PIL import features

        libraries = {"libjpeg_turbo": "libjpeg_turbo", "zlib": "zlib"}
        return {"pillow": version("pillow")} | {
            name: str(features.version(feature)) for name, feature in libraries.items()
        }

    def jpeg(self, data: bytes, full: Size, size: Size) -> tuple[Values, tuple[float, float]] | None:
        """See :class:`Backend`: Pillow's own way is the common one."""
        return None

    def png(self, data: bytes) -> Values | None:
        """See :class:`Backend`."""
        return None

    def resize(self, values: Values, size: Size, extent: tuple[float, float] | None = None) -> Values:
        """See :class:`Backend`."""
        height, width = values.shape
        across, down = extent or (width, height)
        while values.dtype != np.uint8 and _halves(across, down, size):
            values, across, down = _halved(values), across / 2, down / 2
        if (values.shape[1], values.shape[0]) == size == (across, down):
            return values
        box = (0.0, 0.0, min(across, values.shape[1]), min(down, values.shape[0]))
        return np.asarray(Image.fromarray(values).resize(size, Image.Resampling.BICUBIC, box=box))

    def encode(self, grey: NDArray[np.uint8], encoding: Encoding) -> bytes:
        """See :class:`Backend`."""
        file = io.BytesIO()
        if encoding == "jpeg":
            Image.fromarray(grey).save(file, "JPEG", quality=JPEG_QUALITY)
        else:
            # Run lengths only: a fifth of the time of the default, at the same size for radiographs.
            Image.fromarray(grey).save(file, "PNG", compress_level=6, compress_type=3)
        return file.getvalue()


class FastBackend:
    """OpenCV's area averaging; simplejpeg and imagecodecs for what they read and write faster than Pillow."""

    def __init__(self) -> None:
        import cv2

        # Parallelism is the build's, one process per worker.
        cv2.setNumThreads(1)

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """See :class:`Backend`."""
        return {name: version(name) for name in (*_FAST, "pillow")}

    def jpeg(self, data: bytes, full: Size, size: Size) -> tuple[Values, tuple[float, float]] | None:
        """See :class:`Backend`."""
        import simplejpeg

        try:
            grey = simplejpeg.decode_jpeg(data, "GRAY", min_width=size[0], min_height=size[1])[:, :, 0]
        except ValueError:
            return None
        # libjpeg scales by eighths; the last column and row may stand for a part of one.
        eighths = round(8 * grey.shape[1] / full[0])
        return grey, (full[0] * eighths / 8, full[1] * eighths / 8)

    def png(self, data: bytes) -> Values | None:
        """See :class:`Backend`."""
        import imagecodecs

        if data[24] not in (8, 16):  # fewer bits would come back unscaled
            return None
        try:
            values: Values = imagecodecs.png_decode(data)
        except (ValueError, RuntimeError):
            return None
        return values if values.ndim == 2 else None

    def resize(self, values: Values, size: Size, extent: tuple[float, float] | None = None) -> Values:
        """See :class:`Backend`."""
        import cv2

        if values.dtype == np.int32:
            values = values.astype(np.float32)  # OpenCV averages no 32-bit integers
        if extent is not None:  # to the nearest pixel: averaging knows no parts of one
            values = values[: max(1, round(extent[1])), : max(1, round(extent[0]))]
        down, across = values.shape
        while _halves(across, down, size):
            half = (values.shape[1] // 2, values.shape[0] // 2)
            values = cv2.resize(values[: half[1] * 2, : half[0] * 2], half, interpolation=cv2.INTER_AREA)
            across, down = half
        if (values.shape[1], values.shape[0]) == size:
            return values
        resized: Values = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        return resized

    def encode(self, grey: NDArray[np.uint8], encoding: Encoding) -> bytes:
        """See :class:`Backend`."""
        if encoding == "jpeg":
            import simplejpeg

            data: bytes = simplejpeg.encode_jpeg(
                np.ascontiguousarray(grey)[:, :, None], JPEG_QUALITY, "GRAY", colorsubsampling="Gray"
            )
            return data
        import cv2

        return bytes(cv2.imencode(".png", grey)[1])


_FAST = ("opencv-python-headless", "imagecodecs", "simplejpeg")


@cache
def backend(name: BackendName) -> Backend:
    """A backend by its name.

    Raises:
        UsageError: its libraries are not installed.
    """
    if name == "pillow":
        return PillowBackend()
    try:
        for library in _FAST:
            version(library)
    except PackageNotFoundError as error:
        raise UsageError(
            f"images.backend: fast needs {error.name}; install it with pip install 'cxr-instruct[fast]',"
            " or say images.backend=pillow"
        ) from None
    return FastBackend()


def _halves(across: float, down: float, size: Size) -> bool:
    return min(across / size[0], down / size[1]) >= 2 * _REST


def _halved(values: Values) -> Values:
    """Mean of each two by two values; an odd last row or column is left out."""
    height, width = values.shape[0] // 2 * 2, values.shape[1] // 2 * 2
    wide = {np.dtype(np.uint16): np.uint32, np.dtype(np.int32): np.int64}.get(values.dtype, np.float64)
    total: Values = values[0:height:2, 0:width:2].astype(wide)
    for row, column in ((1, 0), (0, 1), (1, 1)):
        np.add(total, values[row:height:2, column:width:2], out=total)
    mean: Values = total / 4 if total.dtype.kind == "f" else np.right_shift(total, 2, out=total)
    return mean.astype(values.dtype)
