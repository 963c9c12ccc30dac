"""Small valid DICOM files with uncompressed grey pixels (DICOM PS3.5, PS3.10)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_EXPLICIT, _IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
_DIGITAL_XRAY = "1.2.840.10008.5.1.4.1.1.1.1"
_LONG = ("OB", "OW", "SQ")
_UNDEFINED = 0xFFFFFFFF


def write_dicom(
    path: Path,
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    uids: tuple[str, str, str],
    *,
    patient: str = "",
    tags: Mapping[tuple[int, int], tuple[str, str]] | None = None,
    inverted: bool = False,
    implicit: bool = False,
    nested: bool = False,
) -> None:
    """Write a DICOM file; its folder must exist.

    Args:
        path: file to write.
        pixels: (height, width), 8 or 16 bits of grey, dark to bright.
        uids: study, series and SOP instance UID.
        patient: Patient ID.
        tags: further text elements: (group, number) to value representation and value.
        inverted: store the negative, as MONOCHROME1.
        implicit: implicit instead of explicit value representations.
        nested: put a sequence of undefined length before the image's size.
    """
    study, series, instance = uids
    texts = {
        (0x0008, 0x0016): ("UI", _DIGITAL_XRAY),
        (0x0008, 0x0018): ("UI", instance),
        (0x0008, 0x0060): ("CS", "DX"),
        (0x0010, 0x0020): ("LO", patient),
        (0x0020, 0x000D): ("UI", study),
        (0x0020, 0x000E): ("UI", series),
        (0x0028, 0x0004): ("CS", "MONOCHROME1" if inverted else "MONOCHROME2"),
        **(tags or {}),
    }
    elements = {tag: (vr, _text(vr, value)) for tag, (vr, value) in texts.items()}
    bits = pixels.itemsize * 8
    numbers = {0x0002: 1, 0x0010: pixels.shape[0], 0x0011: pixels.shape[1]}
    numbers |= {0x0100: bits, 0x0101: bits, 0x0102: bits - 1, 0x0103: 0}
    elements |= {(0x0028, number): ("US", struct.pack("<H", value)) for number, value in numbers.items()}
    stored = np.iinfo(pixels.dtype).max - pixels if inverted else pixels
    content = stored.astype(f"<u{pixels.itemsize}").tobytes()
    elements[0x7FE0, 0x0010] = ("OW" if bits > 8 else "OB", content + b"\0" * (len(content) % 2))
    if nested:
        elements[0x0008, 0x1140] = ("SQ", _nested(implicit))
    body = b"".join(_element(tag, vr, value, implicit) for tag, (vr, value) in sorted(elements.items()))
    meta = b"".join(
        _element((0x0002, number), vr, value, False)
        for number, vr, value in (
            (0x0001, "OB", b"\0\1"),
            (0x0002, "UI", _text("UI", _DIGITAL_XRAY)),
            (0x0003, "UI", _text("UI", instance)),
            (0x0010, "UI", _text("UI", _IMPLICIT if implicit else _EXPLICIT)),
            (0x0012, "UI", _text("UI", "2.25.1")),
        )
    )
    size = _element((0x0002, 0x0000), "UL", struct.pack("<I", len(meta)), False)
    path.write_bytes(b"\0" * 128 + b"DICM" + size + meta + body)


def _text(vr: str, value: str) -> bytes:
    content = value.encode("ascii")
    return content + (b"\0" if vr == "UI" else b" ") * (len(content) % 2)


def _element(tag: tuple[int, int], vr: str, value: bytes, implicit: bool) -> bytes:
    head = struct.pack("<HH", *tag)
    length = _UNDEFINED if vr == "SQ" else len(value)
    if implicit:
        return head + struct.pack("<I", length) + value
    if vr in _LONG:
        return head + vr.encode() + struct.pack("<HI", 0, length) + value
    return head + vr.encode() + struct.pack("<H", length) + value


def _nested(implicit: bool) -> bytes:
    """Two items of a sequence, one of undefined and one of stated length, and the sequence's end."""
    inner = _element((0x0008, 0x1155), "UI", _text("UI", "2.25.7"), implicit)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, _UNDEFINED) + inner + struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
    return item + struct.pack("<HHI", 0xFFFE, 0xE000, len(inner)) + inner + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
