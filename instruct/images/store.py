"""Store: from an image file to the bytes, sizes and hashes that an images table keeps of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instruct.images.backend import Backend, BackendName, Encoding, backend
from instruct.images.decode import decode
from instruct.images.fault import MAX_FILE_BYTES, ImageFault, undecodable
from instruct.images.geometry import Fit, Geometry
from instruct.images.hashes import content_hash, perceptual_hash
from instruct.images.window import Window, to_grey
from instruct.reasons import Reason

# What libjpeg writes at most (its JPEG_MAX_DIMENSION), in either backend.
MAX_JPEG_SIDE = 65_500


@dataclass(frozen=True)
class ImagePolicy:
    """How images are stored.

    Attributes:
        fit: which side ``size`` is.
        size: in pixels; smaller images keep theirs.
        encoding: ``jpeg`` (grey, quality 95) or ``png`` (lossless).
        backend: the libraries that do it.
        links: whether symbolic links may lead out of the source's folder.
    """

    fit: Fit = "short"
    size: int = 512
    encoding: Encoding = "jpeg"
    backend: BackendName = "pillow"
    links: bool = False


@dataclass(frozen=True)
class StoredImage:
    """An image as it is stored.

    Attributes:
        data: the image file, one channel of 8 bits.
        geometry: from the published image to this one.
        window: which values became black and white.
        content: :func:`content_hash` of its pixels before they were encoded, without padding.
        perceptual: :func:`perceptual_hash` of the same.
    """

    data: bytes
    geometry: Geometry
    window: Window
    content: str
    perceptual: int


def store_image(data: bytes, policy: ImagePolicy) -> StoredImage:
    """Decode, resize, window, pad and encode one image.

    Args:
        data: the image file.
        policy: how.

    Raises:
        ImageFault: it cannot be used.
        UsageError: libraries it needs are not installed.
    """
    tools = backend(policy.backend)
    decoded = decode(data, policy.fit, policy.size, tools)
    grey, window = to_grey(decoded.values, decoded.display)
    content, perceptual = content_hash(grey), int(perceptual_hash(grey))
    geometry = decoded.geometry
    if policy.encoding == "jpeg" and max(geometry.canvas) > MAX_JPEG_SIDE:
        width, height = geometry.canvas
        raise ImageFault(
            Reason.IMAGE_TOO_LARGE,
            f"{width:,} x {height:,} pixels when resized; a side of a JPEG has at most {MAX_JPEG_SIDE:,}",
        )
    if geometry.canvas != geometry.content:
        canvas = np.zeros(geometry.canvas[::-1], np.uint8)
        left, top = geometry.offset
        canvas[top : top + geometry.content[1], left : left + geometry.content[0]] = grey
        grey = canvas
    return StoredImage(_encoded(grey, policy.encoding, tools), geometry, window, content, perceptual)


def _encoded(grey: NDArray[np.uint8], encoding: Encoding, tools: Backend) -> bytes:
    try:
        return tools.encode(grey, encoding)
    except MemoryError:
        raise
    except Exception as error:  # each library has its own, and an OSError would pass for one of the shard's file
        raise undecodable(f"cannot be encoded as {encoding}: {error or type(error).__name__}") from None


def read_image_file(root: Path, path: str, links: bool) -> bytes:
    """The bytes of an image file below a folder.

    Args:
        root: the folder.
        path: path below it, with forward slashes.
        links: whether symbolic links may lead out of the folder.

    Raises:
        ImageFault: it is not there, lies elsewhere, or is too large.
    """
    file = f"{root}/{path}"
    if not links and not os.path.realpath(file).startswith(os.path.realpath(root) + os.sep):
        raise ImageFault(
            Reason.PATH_OUTSIDE_ROOT,
            "a symbolic link leads out of the source's folder (images.links=follow allows that)",
        )
    try:
        with Path(file).open("rb") as opened:
            if os.fstat(opened.fileno()).st_size > MAX_FILE_BYTES:
                raise ImageFault(Reason.IMAGE_TOO_LARGE, f"a file of more than {MAX_FILE_BYTES:,} bytes")
            return opened.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ImageFault(Reason.MISSING_IMAGE, "not on disk") from None
    except OSError as error:
        raise undecodable(f"cannot be read: {error.strerror}") from None
