"""Read a JSON object too large to hold: ``{key: record, ...}`` piece by piece, at the parser's full speed.

A piece ends where a member of the outer object seems to end; whether it really does is left to the JSON parser,
which accepts the piece as a whole object only if the guess was right. Bare ``NaN``, which some publishers write
although JSON has none, reads as None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from instruct.errors import DataError

_NEXT_MEMBER = re.compile(rb'\}\s*,\s*(?=")')
_PIECE = 8 << 20


def iter_members(path: Path, mark: bytes, piece: int = _PIECE) -> Iterator[dict[str, dict[str, Any]]]:
    """Members of the JSON object in a file, in order, some thousands at a time.

    Args:
        path: the file.
        mark: a key, with its quotes, that every record holds exactly once: its count shows a key written twice.
        piece: bytes read at a time.

    Yields:
        Parts of the object; NaN values are None.

    Raises:
        DataError: not a JSON object of objects, cut off, malformed, or two members with one key.
    """
    done = 0  # bytes of the file before `rest`
    rest = b""
    started = False
    with path.open("rb") as file:
        while block := file.read(piece):
            rest += block
            if not started:
                opening = len(rest) - len(rest.lstrip())
                if rest[opening : opening + 1] != b"{":
                    raise DataError(f"{path}:1: not a JSON object; expected {{study key: record, ...}}")
                rest, done, started = rest[opening + 1 :], opening + 1, True
            part, used = _longest_part(path, rest, done, mark)
            if used:
                yield part
                rest, done = rest[used:], done + used
        end = rest.rstrip()
        if not started or not end.endswith(b"}"):
            raise DataError(f"{_place(path, done + len(end))}: the file ends in the middle of a record; get it again")
        if end[:-1].strip():
            yield _parse(path, end[:-1], done, mark)


def _longest_part(path: Path, data: bytes, offset: int, mark: bytes) -> tuple[dict[str, dict[str, Any]], int]:
    """The longest run of whole members that starts ``data``, and the bytes it takes with the comma after it."""
    ends = list(_NEXT_MEMBER.finditer(data))
    for end in reversed(ends):
        part = data[: end.start() + 1]
        try:
            return _parse(path, part, offset, mark), end.end()
        except _CutOff:
            continue
    return {}, 0


class _CutOff(DataError):
    """The text ends before the value does."""


def _parse(path: Path, part: bytes, offset: int, mark: bytes) -> dict[str, dict[str, Any]]:
    text = b"{" + part + b"}"
    # The usual form of a bare NaN. Inside a text its quote would be escaped; then, as for every rarer form, the
    # standard library's parser, which knows NaN, has to read the piece.
    readable = text if b'\\": NaN' in text else text.replace(b'": NaN', b'": null')
    members: Any
    try:
        members = orjson.loads(readable)
    except orjson.JSONDecodeError:
        members = _parse_slowly(path, text, offset)
    for key, record in members.items():
        if not isinstance(record, dict):
            raise DataError(
                f"{_place(path, offset)}: {key!r} is {type(record).__name__}; expected {{study key: record}}"
            )
    if text.count(mark) != len(members):
        _explain_count(path, text, offset, mark)
    return members  # type: ignore[no-any-return]


def _parse_slowly(path: Path, text: bytes, offset: int) -> Any:
    """The same with the standard library, which reads a NaN wherever it stands and says where a fault is."""
    try:
        return json.loads(text, parse_constant=lambda _: None)
    except UnicodeDecodeError as fault:
        raise DataError(f"{_place(path, offset + fault.start - 1)}: not UTF-8 text") from None
    except json.JSONDecodeError as fault:
        place = len(fault.doc[: fault.pos].encode())
        at_end = not fault.doc[fault.pos :].strip().strip("}") or "Unterminated string" in fault.msg
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
