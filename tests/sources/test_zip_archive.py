"""Archives are read as ``zipfile`` reads them; a damaged one is told, never half read."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruct.errors import DataError
from instruct.sources.zip_archive import members

ALL = re.compile("")
names = st.text(st.sampled_from("abß报/._"), min_size=1, max_size=12)
contents = st.binary(max_size=300) | st.binary(min_size=1, max_size=20).map(lambda part: part * 50)
methods = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])


def written(entries, before=b"", comment=b"", force_zip64=False, extra=b"", about=b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.comment = comment
        for name, content, method in entries:
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            entry.extra, entry.comment = extra, about
            with archive.open(entry, "w", force_zip64=force_zip64) as member:
                member.write(content)
    return before + file.getvalue()


def everything(path: Path) -> list[tuple[str, bytes]]:
    return [(match.string, content) for match, content in members(path, ALL)]


@pytest.mark.filterwarnings("ignore:Duplicate name")
@settings(max_examples=60)
@given(
    st.lists(st.tuples(names, contents, methods), max_size=6),
    st.sampled_from([b"", b"#!/bin/sh\n"]),
    st.binary(max_size=30).filter(lambda comment: b"PK" not in comment),
    st.booleans(),
)
def test_an_archive_is_read_as_zipfile_reads_it(tmp_path_factory, entries, before, comment, large):
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    path.write_bytes(written(entries, before, comment, large))
    with zipfile.ZipFile(path) as archive:
        expected = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    assert everything(path) == expected


def test_more_members_than_16_bits_can_count(tmp_path):
    count = 2**16 + 3
    path = tmp_path / "a.zip"
    path.write_bytes(written((str(number), b"", zipfile.ZIP_STORED) for number in range(count)))
    assert [name for name, _ in everything(path)] == [str(number) for number in range(count)]


def test_sizes_and_places_that_need_64_bits_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)  # so that small archives are written as those over 2 GiB are
    path = tmp_path / "a.zip"
    path.write_bytes(
        written([("a", b"a" * 50, zipfile.ZIP_DEFLATED), ("b", b"bc" * 50, zipfile.ZIP_STORED)], force_zip64=True)
    )
    assert path.read_bytes().count(b"PK\6\6") == 1
    assert everything(path) == [("a", b"a" * 50), ("b", b"bc" * 50)]


OTHER = struct.pack("<2H3s", 0x5455, 3, b"123")  # an extra field that is passed over


@pytest.mark.parametrize("limit", [None, 10])
@pytest.mark.parametrize("extra", [b"", OTHER, OTHER + b"\0\0\0"])
def test_what_else_an_entry_may_hold(tmp_path, monkeypatch, limit, extra):
    if limit:
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", limit)
    path = tmp_path / "a.zip"
    entries = [("a", b"a" * 50, zipfile.ZIP_DEFLATED), ("b", b"bc", zipfile.ZIP_STORED), ("c", b"c" * 12, 0)]
    path.write_bytes(written(entries, comment=b"c" * 65_535, force_zip64=bool(limit), extra=extra))
    assert everything(path) == [(name, content) for name, content, _ in entries]


def test_names_and_comments_of_old_archives(tmp_path):
    path = tmp_path / "a.zip"
    content = written([("s1_o.txt", b"one", 0), ("s2.txt", b"two", 0)], comment=b"said PK", about=b"of each")
    path.write_bytes(content.replace(b"s1_o", b"s1_\x94"))  # in code page 437
    assert everything(path) == [("s1_ö.txt", b"one"), ("s2.txt", b"two")]


def test_only_what_is_wanted_is_unpacked(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(written([("x/", b"", 0), ("x/1.txt", b"one", 8), ("x/2.gif", b"two", zipfile.ZIP_LZMA)]))
    assert [(match[1], content) for match, content in members(path, re.compile(r"(\d)\.txt$"))] == [("1", b"one")]
    with pytest.raises(DataError, match=r"a\.zip: .*x/2\.gif is compressed by method 14; expected a member stored"):
        everything(path)


ONE = written([("s1.txt", b"a report " * 30, zipfile.ZIP_DEFLATED), ("s2.txt", b"two", zipfile.ZIP_STORED)])
DIRECTORY = ONE.index(b"PK\1\2")


def changed(place: int, new: bytes) -> bytes:
    return ONE[:place] + new + ONE[place + len(new) :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its end is missing"),
        (b"no archive", "its end is missing"),
        (ONE[:-10], "its end is missing"),
        (ONE[20:], "its directory does not start where its end says"),
        (changed(DIRECTORY, b"XX"), f"no entry of its directory at byte {DIRECTORY}"),
        (changed(DIRECTORY + 8, b"\1"), "s1.txt is encrypted; expected a member stored or deflated"),
        (changed(0, b"XX"), "s1.txt is not where its directory says"),
        (changed(ONE.index(b"s2.txt"), b"s3"), "s2.txt is not where its directory says"),
        (changed(ONE.rindex(b"s2.txt"), b"s3"), "s3.txt is not where its directory says"),
        (changed(DIRECTORY + 42, struct.pack("<L", 2**31)), "s1.txt is not where its directory says"),
        (changed(DIRECTORY + 20, struct.pack("<L", 2**31)), "s1.txt is not where its directory says"),
        (changed(DIRECTORY + 16, b"\0\0\0\0"), "s1.txt does not have the length and the checksum"),
        (changed(DIRECTORY + 24, b"\5\0\0\0"), "s1.txt does not have the length and the checksum"),
        (changed(36, b"\xff\xff\xff"), "invalid block type|does not have the length"),
    ],
)
def test_a_damaged_archive_is_told(tmp_path, content, message):
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.zip: the archive cannot be read to its end \(.*({message})"):
        everything(path)


@settings(max_examples=200)
@given(st.integers(0, len(ONE) - 1), st.integers(0, 255))
def test_a_changed_byte_gives_the_same_reports_or_an_error(tmp_path_factory, place, byte):
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    path.write_bytes(changed(place, bytes([byte])))
    try:
        found = everything(path)
    except DataError:
        return
    assert found == [("s1.txt", b"a report " * 30), ("s2.txt", b"two")]


@settings(max_examples=100)
@given(st.lists(st.integers(0, 2**64 - 1) | st.sampled_from([2**63 - 1, 2**63, 2**40]), min_size=3, max_size=3))
def test_any_sizes_in_64_bits_are_told(tmp_path_factory, numbers):
    path = tmp_path_factory.mktemp("archive") / "a.zip"
    extra = struct.pack("<2H3Q", 1, 24, *numbers)
    content = bytearray(written([("s1.txt", b"one", 0)], extra=struct.pack("<2H24s", 0x5455, 24, b"")))
    directory = content.index(b"PK\1\2")
    for place in (20, 24, 42):
        content[directory + place : directory + place + 4] = b"\xff" * 4
    content[directory + 46 + 6 : directory + 46 + 6 + len(extra)] = extra
    path.write_bytes(content)
    with pytest.raises(DataError, match="the archive cannot be read to its end"):
        everything(path)
