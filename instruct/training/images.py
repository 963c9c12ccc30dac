"""A row's images: their sizes from the file header, their pixels as 8-bit RGB."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, UnidentifiedImageError

from instruct.errors import DataError
from instruct.images import fault
from instruct.images.dicom import is_dicom
from instruct.images.window import Display, to_grey
from instruct.reasons import Reason

# Whatever Pillow's readers stumble over in a damaged file; memory and interrupts are not theirs.
_DAMAGE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip

REFUSED_IMAGE = "refused_image"
# Faults of an image file, not of the row that names it.
IMAGE_REASONS = frozenset({Reason.MISSING_IMAGE, Reason.UNDECODABLE_IMAGE, Reason.CONSTANT_IMAGE, REFUSED_IMAGE})


class ImageFault(DataError):
    """An image of a row cannot be read.

    Attributes:
        row_id: the row's ``id``.
        index: which image of the row, from 0.
        reason: ``missing_image``, ``undecodable_image``, ``constant_image``, or ``refused_image`` where the processor
            takes no image of that size.
        detail: what is wrong with which file.
    """

    def __init__(self, row_id: str, index: int, reason: str, detail: str) -> None:
        self.row_id, self.index, self.reason, self.detail = row_id, index, reason, detail
        super().__init__(f"row {row_id}, image {index + 1}: {detail}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.row_id, self.index, self.reason, self.detail))


def image_sizes(row: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Width and height of each image of a row in pixels, read from the headers; no pixel is decoded.

    Args:
        row: a row; its ``images`` are dicts of ``bytes`` or else ``path``, or have their ``size`` already.

    Raises:
        ImageFault: a file is missing, or no image.
    """
    sizes = []
    for index, entry in enumerate(row["images"]):
        if (size := entry.get("size")) is None:
            with _opened(row, index) as image:
                size = image.size
        sizes.append(size)
    return sizes


def open_image(row: Mapping[str, Any], index: int) -> Image.Image:
    """One image of a row as 8-bit RGB.

    An image of more than 8 bits gets the window that a build with stored images gives it: Pillow's own conversion would
    clip it at 255.

    Args:
        row: a row; its ``images`` are dicts of ``bytes`` or else ``path``.
        index: which image, from 0.

    Raises:
        ImageFault: the file is missing or cannot be decoded.
    """
    with _opened(row, index) as image:
        image.load()
        if image.mode == "F" or image.mode.startswith("I"):
            return Image.fromarray(to_grey(np.asarray(image), Display())[0]).convert("RGB")
        return image.convert("RGB")


def open_images(row: Mapping[str, Any]) -> list[Image.Image]:
    """All images of a row; see :func:`open_image`."""
    return [open_image(row, index) for index in range(len(row["images"]))]


@contextmanager
def _opened(row: Mapping[str, Any], index: int) -> Iterator[Image.Image]:
    entry = row["images"][index]
    data, path = entry.get("bytes"), entry.get("path")
    name = path or "embedded image"
    try:
        with Image.open(Path(path or "") if data is None else _file(data)) as image:
            yield image
    except (FileNotFoundError, IsADirectoryError) as error:
        raise ImageFault(row["id"], index, Reason.MISSING_IMAGE, f"{name}: there is no such file") from error
    except fault.ImageFault as error:
        raise ImageFault(row["id"], index, error.reason, f"{name}: {error.detail}") from error
    except UnidentifiedImageError as error:
        raise ImageFault(row["id"], index, Reason.UNDECODABLE_IMAGE, f"{name}: {_what(data, path)}") from error
    except _DAMAGE as error:
        raise ImageFault(row["id"], index, Reason.UNDECODABLE_IMAGE, f"{name}: cannot be decoded: {error}") from error


def _file(data: bytes | pa.Buffer) -> Any:
    return pa.BufferReader(data) if isinstance(data, pa.Buffer) else io.BytesIO(data)  # the former copies nothing


def _what(data: bytes | pa.Buffer | None, path: str | None) -> str:
    """What a file is that Pillow does not know."""
    if data is None:
        with Path(path or "").open("rb") as file:
            data = file.read(132)
    if is_dicom(bytes(data[:132])):
        return "a DICOM file; build the dataset with images.store=pack, which stores it as a picture"
    return f"cannot be decoded: its content is no image (it begins with {bytes(data[:8])!r})"
