"""What a compressed frame says of its size, before anything of it is decoded: a few bytes can claim gigabytes."""

from __future__ import annotations

from instruct.images.geometry import Size

_JPEG2000 = b"\xff\x4f\xff\x51"  # start of codestream, then SIZ
# Start of frame of JPEG (all codings; the gaps are other markers) and of JPEG-LS.
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH = {0x01, *range(0xD0, 0xD9)}


def frame_size(frame: bytes) -> Size | None:
    """Width and height that a JPEG, JPEG-LS or JPEG 2000 frame will be decoded to; None where it does not say."""
    start = frame.find(_JPEG2000)
    if start >= 0 and not frame.startswith(b"\xff\xd8"):
        right, bottom, left, top = (_number(frame, start + 8 + 4 * place, 4) for place in range(4))
        return right - left, bottom - top
    at = 2 if frame.startswith(b"\xff\xd8") else len(frame)
    while at + 9 <= len(frame):
        marker = frame[at + 1]
        if frame[at] != 0xFF or marker == 0xDA:  # no marker; or the scan, which no size comes after
            return None
        if marker in _FRAMES:
            return _number(frame, at + 7, 2), _number(frame, at + 5, 2)
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _WITHOUT_LENGTH:
            at += 2
        else:
            at += 2 + max(2, _number(frame, at + 2, 2))
    return None


def _number(frame: bytes, at: int, size: int) -> int:
    return int.from_bytes(frame[at : at + size], "big")
