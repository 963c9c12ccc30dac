"""The size of a picture from its header."""

from __future__ import annotations

from pathlib import Path

from instruct.errors import DataError


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width of a PNG, JPEG or other picture file.

    Raises:
        DataError: the file is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (UnidentifiedImageError, OSError):
        raise DataError(f"{path}: not an image file, or it is damaged; get it again") from None
