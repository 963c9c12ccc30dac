"""Read a JSON object or list too large to hold, ``{key: record, ...}`` or ``[record, ...]``, piece by piece.

This is as fast as the parser. A piece ends where a member of the outer value seems to end; whether it really does is
left to the JSON parser, which accepts the piece as a whole value only if the guess was right. Bare ``NaN``, which some
publishers write although JSON has none, reads as None.
"""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from instruct.errors import DataError
from instruct.sources.files import loads_with_nan

_PIECE = 4 << 20
# Bytes at the end of a piece among which its last whole member is looked for first.
_TAIL = 64 << 10

_Part = TypeVar("_Part")
_Record = TypeVar("_Record")


def iter_members(path: Path, mark: bytes, record: type[_Record], piece: int = _PIECE) -> Iterator[dict[str, _Record]]:
    """Members of the JSON object in a file, in order, some thousands at a time.

    Args:
        path: the file.
        mark: a key, with its quotes, that every record holds exactly once: its count shows a key written twice.
        record: type of a member, such as a :class:`msgspec.Struct` of the fields that are wanted: the others are passed
            over, which is faster than reading them.
        piece: bytes read at a time.

    Yields:
        Parts of the object; NaN values are None.

    Raises:
        DataError: not a JSON object of such records, cut off, malformed, or two members of one part with one key (the
            caller has to look for those of different parts).
    """
    decoder = msgspec.json.Decoder(dict[str, record])  # type: ignore[valid-type]
    yield from _pieces(path, piece, _OBJECT, lambda part, offset: _parse(path, part, offset, mark, decoder, record))


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
    yield from _pieces(path, piece, _LIST, lambda part, offset: _parse_items(path, part, offset))


@dataclass(frozen=True)
class _Outer:
    """The outer value of a file: its brackets, where its next part may begin, and what it is called."""

    opening: bytes
    closing: bytes
    next_part: re.Pattern[bytes]
    name: str


_OBJECT = _Outer(b"{", b"}", re.compile(rb'\}\s*,\s*(?=")'), "a JSON object; expected {study key: record, ...}")
_LIST = _Outer(b"[", b"]", re.compile(rb"\}\s*,\s*(?=\{)"), "a JSON list; expected [record, ...]")


def _pieces(path: Path, piece: int, outer: _Outer, parse: Callable[[bytes, int], _Part]) -> Iterator[_Part]:
    done = 0  # bytes of the file before `rest`
    rest = b""
    started = False
    with path.open("rb") as file:
        while block := file.read(piece):
            rest += block
            if not started:
                opening = len(rest) - len(rest.lstrip())
                if rest[opening : opening + 1] != outer.opening:
                    raise DataError(f"{path}:1: not {outer.name}")
                rest, done, started = rest[opening + 1 :], opening + 1, True
            for end in _last_first(outer.next_part, rest):
                try:
                    part = parse(rest[: end.start() + 1], done)
                except _CutOff:
                    continue
                yield part
                rest, done = rest[end.end() :], done + end.end()
                break
        last = rest.rstrip()
        if not started or not last.endswith(outer.closing):
            raise DataError(f"{_place(path, done + len(last))}: the file ends in the middle of a record; get it again")
        if last[:-1].strip():
            yield parse(last[:-1], done)


def _last_first(pattern: re.Pattern[bytes], text: bytes) -> Iterator[re.Match[bytes]]:
    """Matches of a pattern in a text, from the last to the first; first in the tail alone, where most often one is."""
    tail, end = _TAIL, len(text)
    while end > 0:
        start = max(0, len(text) - tail)
        yield from reversed([match for match in pattern.finditer(text, start) if match.start() < end])
        tail, end = 8 * tail, start


class _CutOff(DataError):
    """The text ends before the value does."""


def _parse(
    path: Path, part: bytes, offset: int, mark: bytes, decoder: msgspec.json.Decoder[Any], record: type[_Record]
) -> dict[str, _Record]:
    text = b"{" + part + b"}"
    members = _load(path, text, offset, decoder)
    if members is None:
        members = _convert(path, _parse_slowly(path, text, offset), offset, record)
    if text.count(mark) != len(members):
        _explain_count(path, text, offset, mark)
    return members  # type: ignore[no-any-return]


def _convert(path: Path, members: dict[str, Any], offset: int, kind: type[_Record]) -> dict[str, _Record]:
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


def _parse_items(path: Path, part: bytes, offset: int) -> list[dict[str, Any]]:
    text = b"[" + part + b"]"
    items = _load(path, text, offset, _ITEMS)
    if items is None:
        items = _parse_slowly(path, text, offset)
    for item in items:
        if not isinstance(item, dict):
            raise DataError(f"{_place(path, offset)}: the list holds {type(item).__name__}; expected [record, ...]")
    return items  # type: ignore[no-any-return]


_ITEMS = msgspec.json.Decoder(list[dict[str, Any]])


def _load(path: Path, text: bytes, offset: int, decoder: msgspec.json.Decoder[Any]) -> Any:
    """The value of a text; None where it must be read slowly, to be understood or to say what is wrong with it."""
    # The usual form of a bare NaN. Inside a text its quote would be escaped; then, as for every rarer form, the
    # standard library's parser, which knows NaN, has to read the piece.
    readable = text if b'\\": NaN' in text else text.replace(b'": NaN', b'": null')
    # The cycle collector would walk the new objects again and again, and they hold no cycles.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return decoder.decode(readable)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    finally:
        if collecting:
            gc.enable()


def _parse_slowly(path: Path, text: bytes, offset: int) -> Any:
    """The same with the standard library, which reads a NaN wherever it stands and says where a fault is."""
    try:
        return loads_with_nan(text)
    except UnicodeDecodeError as fault:
        raise DataError(f"{_place(path, offset + fault.start - 1)}: not UTF-8 text") from None
    except json.JSONDecodeError as fault:
        place = len(fault.doc[: fault.pos].encode())
        at_end = not fault.doc[fault.pos :].strip().strip("]}") or "Unterminated string" in fault.msg
        kind = _CutOff if at_end else DataError
        raise kind(f"{_place(path, offset + place - 1)}: malformed JSON: {fault.msg}") from None


def _explain_count(path: Path, text: bytes, offset: int, mark: bytes) -> None:
    """Say why a piece does not hold its mark once a member: a key that stands twice, or a record without it."""
    pairs: list[tuple[str, Any]] = []

    def keep(members: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs[:] = members  # the outermost object comes last
        return dict(members)

    json.loads(text, object_pairs_hook=keep, parse_constant=lambda _: None)
    seen: set[str] = set()
    for key, record in pairs:
        if key in seen:
            raise DataError(f"{_place(path, offset)}: two records have the key {key!r}")
        seen.add(key)
        if mark.decode().strip('"') not in record:
            raise DataError(f"{_place(path, offset)}: record {key!r} has no field {mark.decode()}")


def _place(path: Path, offset: int) -> str:
    """``file:line`` of a byte of a file, or ``file:1 (byte n)`` where the file is one long line."""
    lines = 1
    with path.open("rb") as file:
        left = offset
        while left > 0 and (block := file.read(min(left, _PIECE))):
            lines += block.count(b"\n")
            left -= len(block)
    return f"{path}:{lines}" if lines > 1 else f"{path}:1 (byte {offset})"
