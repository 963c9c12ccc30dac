import itertools
import struct

import numpy as np
import pytest

from instruct.errors import DataError
from instruct.sources.dicom import image_size
from instruct.synth.dicom import write_dicom

UIDS = ("2.25.1", "2.25.2", "2.25.3")


def pixels(kind=np.uint8):
    return np.arange(15 * 18).reshape(15, 18).astype(kind)


@pytest.mark.parametrize(
    ("kind", "inverted", "implicit", "nested"), [*itertools.product([np.uint8, np.uint16], *[[False, True]] * 3)]
)
def test_size_of_every_sort_of_file(tmp_path, kind, inverted, implicit, nested):
    path = tmp_path / "x.dcm"
    write_dicom(path, pixels(kind), UIDS, patient="p", inverted=inverted, implicit=implicit, nested=nested)
    assert image_size(path) == (15, 18)


def test_pixels_are_never_read(tmp_path):
    path = tmp_path / "x.dcm"
    write_dicom(path, pixels(), UIDS)
    content = path.read_bytes()
    path.write_bytes(content[: content.index(struct.pack("<HH", 0x0028, 0x0100))])
    assert image_size(path) == (15, 18)


def test_no_file_has_no_size(tmp_path):
    assert image_size(tmp_path / "none.dcm") is None


def changed(content, old, new):
    assert content.count(old) == 1
    return content.replace(old, new)


ROWS = struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"\x89PNG" + content, "not a DICOM file"),
        (lambda content: b"", "not a DICOM file"),
        (lambda content: content[:300], "ends in the middle"),
        (lambda content: changed(content, ROWS, ROWS.replace(b"US", b"\1\2")), "0028,0010 .* no value representation"),
        (
            lambda content: changed(content, ROWS, struct.pack("<HH2sH", 0x0027, 0x0010, b"US", 2)),
            "no Rows and Columns",
        ),
        (lambda content: changed(content, ROWS + b"\x0f\0", ROWS + b"\0\0"), "without pixels"),
        (lambda content: changed(content, b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.2\0"), "big endian"),
    ],
)
def test_what_is_no_readable_header_is_named(tmp_path, damage, message):
    path = tmp_path / "x.dcm"
    write_dicom(path, pixels(), UIDS)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=rf"x\.dcm: .*{message}"):
        image_size(path)
