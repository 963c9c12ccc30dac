"""The size of a DICOM image from its header, without its pixels and without a DICOM library.

Read are files with preamble (DICOM PS3.10) in implicit or explicit VR little endian (PS3.5), which all transfer
syntaxes with compressed pixels are too.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from instruct.errors import DataError

_ROWS, _COLUMNS, _TRANSFER_SYNTAX = 0x00280010, 0x00280011, 0x00020010
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_IMPLICIT = "1.2.840.10008.1.2"
_UNREADABLE = {"1.2.840.10008.1.2.1.99": "deflated", "1.2.840.10008.1.2.2": "big endian"}
# Value representations whose length takes four bytes, after two that are reserved (PS3.5, 7.1.2).
_LONG = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_UNDEFINED = 0xFFFFFFFF


def image_size(path: Path) -> tuple[int, int] | None:
    """Rows and Columns of a DICOM file; None where there is no such file.

    Raises:
        DataError: the file is no DICOM file, is cut off before its size, or tells none.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    with file:
        try:
            return _size(file)
        except _Fault as fault:
            raise DataError(f"{path}: {fault}") from None


class _Fault(ValueError):
    """What is wrong with a file."""


def _size(file: BinaryIO) -> tuple[int, int]:
    if file.read(132)[128:] != b"DICM":
        raise _Fault("not a DICOM file (no mark 'DICM' after its first 128 bytes); get the file again")
    explicit = True
    found: dict[int, int] = {}
    while len(found) < 2:
        at = file.tell()
        tag, vr, length = _element(file, explicit or _is_meta(file))
        if tag > _COLUMNS:
            raise _Fault("the DICOM header tells no Rows and Columns")
        if tag == _TRANSFER_SYNTAX:
            syntax = _take(file, length).rstrip(b"\0 ").decode("ascii", "replace")
            if syntax in _UNREADABLE:
                raise _Fault(f"the DICOM file is {_UNREADABLE[syntax]}, which is not read here; expected little endian")
            explicit = syntax != _IMPLICIT
        elif tag in (_ROWS, _COLUMNS):
            if length != 2:
                raise _Fault(f"the DICOM header has Rows or Columns of {length} bytes at {at}; expected 2")
            found[tag] = struct.unpack("<H", _take(file, 2))[0]
        elif length == _UNDEFINED:
            _skip_sequence(file, explicit and vr != b"UN")
        else:
            file.seek(length, 1)
    if not all(found.values()):
        raise _Fault("the DICOM header tells an image without pixels")
    return found[_ROWS], found[_COLUMNS]


def _is_meta(file: BinaryIO) -> bool:
    """Whether the next element is of the file's meta information, which is always explicit."""
    group = file.read(2)
    file.seek(-len(group), 1)
    return group == b"\x02\x00"


def _take(file: BinaryIO, length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise _Fault("the DICOM file ends in the middle of its header; get the file again")
    return content


def _element(file: BinaryIO, explicit: bool) -> tuple[int, bytes, int]:
    """Tag, value representation (empty where implicit) and length of the element that begins here."""
    group, number, vr, length = struct.unpack("<HH2sH", _take(file, 8))
    tag = group << 16 | number
    if not explicit or group == 0xFFFE:
        return tag, b"", int.from_bytes(vr + struct.pack("<H", length), "little")
    if vr in _LONG:
        return tag, vr, struct.unpack("<I", _take(file, 4))[0]
    if not (vr.isalpha() and vr.isupper()):
        raise _Fault(f"element {group:04x},{number:04x} of the DICOM header has no value representation")
    return tag, vr, length


def _skip_sequence(file: BinaryIO, explicit: bool) -> None:
    """Pass over the items of a sequence of undefined length, to behind its end."""
    while True:
        tag, _, length = _element(file, explicit)
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise _Fault("a sequence of the DICOM header holds what is no item")
        if length == _UNDEFINED:
            _skip_item(file, explicit)
        else:
            file.seek(length, 1)


def _skip_item(file: BinaryIO, explicit: bool) -> None:
    while True:
        tag, vr, length = _element(file, explicit)
        if tag == _ITEM_END:
            return
        if length == _UNDEFINED:
            _skip_sequence(file, explicit and vr != b"UN")
        else:
            file.seek(length, 1)
