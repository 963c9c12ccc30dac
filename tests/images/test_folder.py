from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from instruct.images.folder import ImageFolder
from instruct.reasons import Reason
from tests.images.pictures import dicom


def png(path: Path, dtype: type = np.uint8) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.arange(48 * 32).reshape(48, 32).astype(dtype)).save(path)
    return path


@pytest.fixture
def images(tmp_path):
    png(tmp_path / "images" / "a.png")
    png(tmp_path / "images" / "p 1" / "ü" / "b.png", np.uint16)
    (tmp_path / "images" / "folder.png").mkdir()
    (tmp_path / "secret.png").write_bytes((tmp_path / "images" / "a.png").read_bytes())
    return tmp_path / "images"


def test_what_is_there_is_there(images):
    found = ImageFolder(images).faults(["a.png", "p 1/ü/b.png", "gone.png", "folder.png", "", "A.png", "a.png"])
    assert found == [None, None, *[Reason.MISSING_IMAGE] * 4, None]
    assert ImageFolder(images).faults([]) == []


def test_what_was_found_is_known_until_it_is_forgotten(images):
    folder = ImageFolder(images)
    assert folder.faults(["late.png"]) == [Reason.MISSING_IMAGE]
    png(images / "late.png")
    assert folder.faults(["late.png"]) == [Reason.MISSING_IMAGE]
    folder.forget()
    assert folder.faults(["late.png"]) == [None]


@pytest.mark.parametrize(
    "path",
    [
        "../secret.png",
        "p 1/../../secret.png",
        "..",
        "p 1/..",
        "/etc/hostname",
        "//a.png",
        "..\\secret.png",
        "C:\\secret.png",
        "a.png\0",
        "../images/a.png",
        "p 1/../a.png",
    ],
)
def test_a_path_that_climbs_is_refused_before_it_is_looked_at(images, path):
    for decode in (False, True):
        assert ImageFolder(images, decode=decode).faults([path]) == [Reason.PATH_OUTSIDE_ROOT]


@pytest.mark.parametrize("path", ["..a.png", "a..png", "p..1/x", "...", "a.png."])
def test_dots_in_a_name_are_no_climbing(images, path):
    assert ImageFolder(images).faults([path]) == [Reason.MISSING_IMAGE]


@given(st.lists(st.sampled_from(["a", "..", ".", "", "b.png", "\\", "..."]), min_size=1, max_size=6).map("/".join))
def test_no_path_leads_out(tmp_path_factory, path):
    root = tmp_path_factory.getbasetemp() / "images"
    (fault,) = ImageFolder(root).faults([path])
    outside = not (root / path).resolve().is_relative_to(root.resolve())
    if outside and "\\" not in path:
        assert fault == Reason.PATH_OUTSIDE_ROOT


def test_a_folder_that_is_not_there_lacks_every_image(tmp_path):
    assert ImageFolder(tmp_path / "none").faults(["a.png", "../a.png"]) == [
        Reason.MISSING_IMAGE,
        Reason.PATH_OUTSIDE_ROOT,
    ]


PATHS = st.lists(st.sampled_from(["a", "..", ".", "", "b.png", "\\", "...", "\0"]), max_size=4).map("/".join)


@given(st.lists(PATHS, max_size=6), st.integers(0, 2))
def test_all_are_missing_only_where_each_is(tmp_path_factory, paths, start):
    folder = ImageFolder(tmp_path_factory.getbasetemp() / "none")
    some = pa.array(paths, pa.string())[start:]
    if folder.all_missing(some):
        assert set(folder.faults(some.to_pylist())) <= {Reason.MISSING_IMAGE}


def test_many_plain_paths_are_told_missing_at_once(images, tmp_path):
    paths = pa.array(["a.png", "p 1/ü/b.png"])
    assert ImageFolder(tmp_path / "none").all_missing(paths)
    assert not ImageFolder(images).all_missing(paths)


def test_a_link_to_another_disk_is_followed(images, tmp_path):
    png(tmp_path / "disk" / "c.png")
    (images / "linked").symlink_to(tmp_path / "disk")
    (images / "dangling.png").symlink_to(tmp_path / "gone.png")
    assert ImageFolder(images).faults(["linked/c.png", "dangling.png"]) == [None, Reason.MISSING_IMAGE]


def huge(path: Path) -> None:
    """A PNG that claims to be of a million by a million pixels."""
    head = struct.pack(">IIBBBBB", 10**6, 10**6, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in chunks
        )
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_decoding_finds_what_only_looks_like_an_image(images, threads):
    good = (images / "a.png").read_bytes()
    (images / "cut.png").write_bytes(good[: len(good) // 2])
    (images / "empty.png").touch()
    (images / "text.png").write_text("not found")
    (images / "wrong.png").write_bytes(good[:60] + b"\xff" * 30 + good[90:])
    huge(images / "huge.png")
    names = ["a.png", "cut.png", "p 1/ü/b.png", "empty.png", "text.png", "wrong.png", "huge.png", "gone.png", "cut.png"]
    bad = Reason.UNDECODABLE_IMAGE
    found = ImageFolder(images, decode=True, threads=threads).faults(names)
    assert found == [None, bad, None, bad, bad, bad, bad, Reason.MISSING_IMAGE, bad]
    # Without decoding, a file is a file.
    assert ImageFolder(images).faults(names)[:7] == [None] * 7


def test_a_dicom_file_is_decoded_as_one(images):
    good = dicom(np.arange(600, dtype=np.uint16).reshape(20, 30))
    (images / "good.dicom").write_bytes(good)
    (images / "cut.dicom").write_bytes(good[:-700])
    folder = ImageFolder(images, decode=True)
    assert folder.faults(["good.dicom", "cut.dicom"]) == [None, Reason.UNDECODABLE_IMAGE]


@given(st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), max_size=3), st.integers(0, 400))
def test_no_damage_to_an_image_ends_the_build(tmp_path_factory, changes, length):
    root = tmp_path_factory.getbasetemp() / "damaged"
    content = bytearray(png(root / "x.png").read_bytes())
    for at, data in changes:
        content[at : at + len(data)] = data
    (root / "x.png").write_bytes(content[:length] if length else content)
    (fault,) = ImageFolder(root, decode=True).faults(["x.png"])
    assert fault in (None, Reason.UNDECODABLE_IMAGE)


def test_an_image_is_looked_at_once(images):
    folder = ImageFolder(images, decode=True)
    assert folder.faults(["a.png", "a.png"]) == [None, None]
    (images / "a.png").unlink()
    assert folder.faults(["a.png"]) == [None]
    assert ImageFolder(images).faults(["a.png"]) == [Reason.MISSING_IMAGE]
