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

import orjson

from instruct.errors import DataError
from instruct.sources.files import loads_with_nan

_PIECE = 8 << 20

_Part = TypeVar("_Part")


def iter_members(path: Path, mark: bytes, piece: int = _PIECE) -> Iterator[dict[str, dict[str, Any]]]:
    """Members of the JSON object in a file, in order, some thousands at a time.

    Args:
        path: the file.
        mark: a key, with its quotes, that every record holds exactly once: its count shows a key written twice.
        piece: bytes read at a time.

    Yields:
        Parts of the object; NaN values are None.

    Raises:
        DataError: not a JSON object of objects, cut off, malformed, or two members of one part with one key (the caller
            has to look for those of different parts).
    """
    yield from _pieces(path, piece, _OBJECT, lambda part, offset: _parse(path, part, offset, mark))


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
            for end in reversed(list(outer.next_part.finditer(rest))):
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


class _CutOff(DataError):
    """The text ends before the value does."""


def _parse(path: Path, part: bytes, offset: int, mark: bytes) -> dict[str, dict[str, Any]]:
    text = b"{" + part + b"}"
    members = _load(path, text, offset)
    for key, record in members.items():
        if not isinstance(record, dict):
            raise DataError(
                f"{_place(path, offset)}: {key!r} is {type(record).__name__}; expected {{study key: record}}"
            )
    if text.count(mark) != len(members):
        _explain_count(path, text, offset, mark)
    return members  # type: ignore[no-any-return]


def _parse_items(path: Path, part: bytes, offset: int) -> list[dict[str, Any]]:
    items = _load(path, b"[" + part + b"]", offset)
    for item in items:
        if not isinstance(item, dict):
            raise DataError(f"{_place(path, offset)}: the list holds {type(item).__name__}; expected [record, ...]")
    return items  # type: ignore[no-any-return]


def _load(path: Path, text: bytes, offset: int) -> Any:
    # The usual form of a bare NaN. Inside a text its quote would be escaped; then, as for every rarer form, the
    # standard library's parser, which knows NaN, has to read the piece.
    readable = text if b'\\": NaN' in text else text.replace(b'": NaN', b'": null')
    # The cycle collector would walk the new objects again and again, and they hold no cycles.
    collecting = gc.isenabled()
    gc.disable()
    try:
        return orjson.loads(readable)
    except orjson.JSONDecodeError:
        return _parse_slowly(path, text, offset)
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
