"""Why an image cannot be stored."""

from __future__ import annotations

from instruct.reasons import Reason

# More than any radiograph has (a stitched spine has about 30 million); a file that claims more is damaged or hostile.
# The number is Pillow's own bound (`Image.MAX_IMAGE_PIXELS`).
MAX_PIXELS = 89_478_485
MAX_FILE_BYTES = 1 << 30
# Below this a chest shows nothing.
MIN_SIDE = 8


class ImageFault(Exception):
    """An image that cannot be used.

    Args:
        reason: why, as the build counts it.
        detail: what exactly is wrong, for a person.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


def undecodable(detail: str) -> ImageFault:
    """The fault of an image that cannot be decoded."""
    return ImageFault(Reason.UNDECODABLE_IMAGE, detail)


def check_size(width: int, height: int) -> None:
    """Refuse images of a size that no radiograph has, before their pixels are decoded.

    Raises:
        ImageFault: too large, too small.
    """
    if width * height > MAX_PIXELS:
        raise ImageFault(Reason.IMAGE_TOO_LARGE, f"{width} x {height} pixels; at most {MAX_PIXELS:,} are decoded")
    if min(width, height) < MIN_SIDE:
        raise ImageFault(Reason.IMAGE_TOO_SMALL, f"{width} x {height} pixels; the shorter side must have {MIN_SIDE}")
