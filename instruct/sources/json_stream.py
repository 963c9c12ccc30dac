"""Read a JSON object or list too large to hold, ``{key: record, ...}`` or ``[record, ...]``, piece by piece.

This is as fast as the parser. A piece ends where a member of the outer value seems to end; whether it really does is
left to the JSON parser, which accepts the piece as a whole value only if the guess was right. Bare ``NaN``, which some
publishers write although JSON has none, reads as None.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from instruct.errors import DataError
from instruct.sources.files import loads_with_nan
from instruct.sources.json_columns import DoubtedError, MemberColumns

_PIECE = 1 << 20
# Bytes at the end of a piece among which its last whole member is looked for first.
_TAIL = 64 << 10

_Parsed = TypeVar("_Parsed")


def iter_members(path: Path, mark: bytes, record: type[Any], piece: int = _PIECE) -> Iterator[pa.RecordBatch]:
    """Members of the JSON object in a file, in order, some thousands at a time.

    DuckDB reads them, with none of the interpreter's time. From where it cannot, or what it gives can be doubted,
    msgspec does, which knows what each field may be, or the standard library.

    Args:
        path: the file.
        mark: a key, with its quotes, that every record holds exactly once: its count shows a key written twice.
        record: a :class:`msgspec.Struct` of the fields that are wanted, each a text, a text or a number, or a list of
            texts; of other fields, only whether they are JSON is looked at.
        piece: bytes read at a time.

    Yields:
        Parts of the object: a column ``key``, then one for each field. A number is a text; NaN, be it a text, is null
        wherever a null may be.

    Raises:
        DataError: not a JSON object of such records, cut off, malformed, or two members of one part with one key (the
            caller has to look for those of different parts).
    """
    columns = MemberColumns(record)
    given = marks = 0

    def pieces() -> Iterator[bytes]:
        nonlocal marks
        for text in _pieces(path, piece, _OBJECT, lambda part: part.text):
            marks += text.count(mark)
            yield text

    with suppress(DoubtedError):
        for batch in columns.read(pieces()):
            given += len(batch)
            yield batch
        if given == marks:
            return
    decoder = msgspec.json.Decoder(dict[str, record])  # type: ignore[valid-type]
    for records in _pieces(path, piece, _OBJECT, lambda part: _parse(path, part, mark, decoder, record)):
        if given < len(records):
            yield columns.of(records).slice(given)
        given = max(0, given - len(records))


def iter_items(path: Path, piece: int = _PIECE) -> Iterator[list[dict[str, Any]]]:
    """Items of the JSON list in a file, in order, some thousands at a time.

    Args:
        path: the file.
        piece: bytes read at a time.

    Yields:
        Parts of the list; NaN values are None.

    Raises:
        DataError: not a JSON list of objects, cut off or malformed.
    """
    yield from _pieces(path, piece, _LIST, lambda part: _parse_items(path, part))


@dataclass(frozen=True)
class _Outer:
    """The outer value of a file: its brackets, where its next part may begin, and what it is called."""

    opening: str
    closing: str
    next_part: re.Pattern[bytes]
    name: str


_OBJECT = _Outer("{", "}", re.compile(rb'\}\s*,\s*(?=")'), "a JSON object; expected {study key: record, ...}")
_LIST = _Outer("[", "]", re.compile(rb"\}\s*,\s*(?=\{)"), "a JSON list; expected [record, ...]")


@dataclass
class _Part:
    """A part of the outer value, as a whole value of its own.

    Attributes:
        data: its text, brackets included, at the front of a buffer.
        end: length of the text.
        offset: place in the file of its second byte.
    """

    data: bytearray
    end: int
    offset: int

    @property
    def text(self) -> bytes:
        """A copy of the text."""
        return bytes(memoryview(self.data)[: self.end])


def _pieces(path: Path, piece: int, outer: _Outer, parse: Callable[[_Part], _Parsed]) -> Iterator[_Parsed]:
    # What is read and not yet parsed, after a byte for the opening bracket. Parts are parsed where they are: with the
    # bracket before them, and the closing one in the place of the comma after them.
    data, held = bytearray(1 + 2 * piece), 1
    data[0] = ord(outer.opening)
    done = 0  # place in the file of the second byte
    started = False
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(memoryview(data)[held : held + piece]):
            held += read
            if not started:
                done = held - len(data[1:held].removeprefix(BOM_UTF8).lstrip())
                if data[done:held][:1] != outer.opening.encode():
                    raise DataError(f"{path}:1: not {outer.name}")
                held = _forget(data, done + 1, held)
                started = True
            for match in _last_first(outer.next_part, data, held):
                comma, after = match.start() + 1, match.end()
                was, data[comma] = data[comma], ord(outer.closing)
                try:
                    parsed = parse(_Part(data, comma + 1, done))
                except _CutOff:
                    data[comma] = was
                    continue
                yield parsed
                held = _forget(data, after, held)
                done += after - 1
                break
            if len(data) < held + piece:
                data = data[:held] + bytes(held + piece)
    last = data[1:held].rstrip()
    if not started or not last.endswith(outer.closing.encode()):
        raise DataError(f"{_place(path, done + len(last))}: the file ends in the middle of a record; get it again")
    if last[:-1].rstrip().endswith(b","):  # which DuckDB would pass over
        raise DataError(f"{_place(path, done + len(last) - 1)}: malformed JSON: nothing follows the last comma")
    if last[:-1].strip():
        yield parse(_Part(data, 1 + len(last), done))


def _forget(data: bytearray, start: int, held: int) -> int:
    """Move what is held from ``start`` on to the second byte; how much is held then."""
    data[1 : 1 + held - start] = data[start:held]
    return 1 + held - start


def _last_first(pattern: re.Pattern[bytes], data: bytearray, held: int) -> Iterator[re.Match[bytes]]:
    """Matches of a pattern, from the last to the first; first in the tail alone, where most often one is."""
    tail, end = _TAIL, held
    while end > 0:
        start = max(0, held - tail)
        yield from reversed([match for match in pattern.finditer(data, start, held) if match.start() < end])
        tail, end = 8 * tail, start


class _CutOff(DataError):
    """The text ends before the value does."""


def _parse(
    path: Path, part: _Part, mark: bytes, decoder: msgspec.json.Decoder[Any], record: type[Any]
) -> dict[str, Any]:
    members = _load(part, decoder)
    if members is None:
        members = _convert(path, _parse_slowly(path, part), part.offset, record)
    if part.data.count(mark, 0, part.end) != len(members):
        _explain_count(path, part, mark)
    return members  # type: ignore[no-any-return]


def _convert(path: Path, members: dict[str, Any], offset: int, kind: type[Any]) -> dict[str, Any]:
    """Members as records of a type, or the first one that is none."""
    records = {}
    for key, value in members.items():
        if not isinstance(value, dict):
            raise DataError(
                f"{_place(path, offset)}: {key!r} is {type(value).__name__}; expected {{study key: record}}"
            )
        try:
            records[key] = msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise DataError(f"{_place(path, offset)}: record {key!r}: {error}") from None
    return records


def _parse_items(path: Path, part: _Part) -> list[dict[str, Any]]:
    items = _load(part, _ITEMS)
    if items is None:
        items = _parse_slowly(path, part)
    for item in items:
        if not isinstance(item, dict):
            raise DataError(
                f"{_place(path, part.offset)}: the list holds {type(item).__name__}; expected [record, ...]"
            )
    return items  # type: ignore[no-any-return]


_ITEMS = msgspec.json.Decoder(list[dict[str, Any]])


def _load(part: _Part, decoder: msgspec.json.Decoder[Any]) -> Any:
    """The value of a text; None where it must be read slowly, to be understood or to say what is wrong with it."""
    _null_for_nan(part)
    try:
        return decoder.decode(memoryview(part.data)[: part.end])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _null_for_nan(part: _Part) -> None:
    """Write ``":null`` over every ``": NaN``, which is as long.

    Not behind a backslash, with which the quote most often stands inside a text. Where it does not, and for every rarer
    form, the parser fails, and the standard library's, which knows NaN, has to read the piece.
    """
    text = np.frombuffer(part.data, np.uint8, part.end)
    at = np.flatnonzero(text == ord("N"))
    at = at[(at > len(_NAN_AFTER)) & (at < part.end - len("aN"))]
    for place, byte in zip(range(-len(_NAN_AFTER), len("NaN")), _NAN_AFTER + b"NaN", strict=True):
        at = at[text[at + place] == byte]
    at = at[text[at - len(_NAN_AFTER) - 1] != ord("\\")]
    for place, byte in enumerate(b"null", -1):
        text[at + place] = byte


_NAN_AFTER = b'": '


def _parse_slowly(path: Path, part: _Part) -> Any:
    """The same with the standard library, which reads a NaN wherever it stands and says where a fault is."""
    try:
        return loads_with_nan(part.text)
    except UnicodeDecodeError as fault:
        raise DataError(f"{_place(path, part.offset + fault.start - 1)}: not UTF-8 text") from None
    except json.JSONDecodeError as fault:
        place = len(fault.doc[: fault.pos].encode())
        at_end = not fault.doc[fault.pos :].strip().strip("]}") or "Unterminated string" in fault.msg
        kind = _CutOff if at_end else DataError
        raise kind(f"{_place(path, part.offset + place - 1)}: malformed JSON: {fault.msg}") from None


def _explain_count(path: Path, part: _Part, mark: bytes) -> None:
    """Say why a piece does not hold its mark once a member: a key that stands twice, or a record without it."""
    pairs: list[tuple[str, Any]] = []

    def keep(members: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = members  # the outermost object comes last
        return dict(members)

    json.loads(part.text, object_pairs_hook=keep, parse_constant=lambda _: None)
    seen: set[str] = set()
    for key, record in pairs:
        if key in seen:
            raise DataError(f"{_place(path, part.offset)}: two records have the key {key!r}")
        seen.add(key)
        if mark.decode().strip('"') not in record:
            raise DataError(f"{_place(path, part.offset)}: record {key!r} has no field {mark.decode()}")


def _place(path: Path, offset: int) -> str:
    """``file:line`` of a byte of a file, or ``file:1 (byte n)`` where the file is one long line."""
    lines = 1
    with path.open("rb") as file:
        left = offset
        while left > 0 and (block := file.read(min(left, _PIECE))):
            lines += block.count(b"\n")
            left -= len(block)
    return f"{path}:{lines}" if lines > 1 else f"{path}:1 (byte {offset})"
