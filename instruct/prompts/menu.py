"""Menus: choices as they are shown, the answer in the same form, and an answer read back.

The builder has put a record's ``options`` in order already; here they are only printed. What is read back accepts
every form a menu is printed in, so one reader serves all templates.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

STYLES = ("letters", "numbers", "bullets", "inline")


def menu(options: Sequence[str], style: str = "letters") -> str:
    """Choices as text.

    Args:
        options: the choices, in the order to show; one or more.
        style: ``letters`` (``(A) first``), ``numbers`` (``1. first``), ``bullets`` (``- first``), each on a line of
            its own, or ``inline`` (``first, second or third``).

    Raises:
        ValueError: there are no choices, or there is no such style.
    """
    if not options:
        raise ValueError("a menu without choices")
    if style == "inline":
        return ", ".join(options[:-1]) + (" or " if len(options) > 1 else "") + options[-1]
    return "\n".join(_entry(index, option, style) for index, option in enumerate(options))


def chosen(answers: Sequence[str] | str, options: Sequence[str], style: str = "letters") -> str:
    """The right choices as the menu of the same style shows them, in its order.

    Args:
        answers: one choice or several; each must be among the options.
        options: the choices, as they are shown.
        style: as for :func:`menu`; ``text`` gives the words alone, separated by commas, ``key`` the letters alone.

    Raises:
        ValueError: an answer is not among the options.
    """
    wanted = [answers] if isinstance(answers, str) else list(answers)
    unknown = [answer for answer in wanted if answer not in options]
    if unknown:
        raise ValueError(f"answer {unknown[0]!r} is not among the options {list(options)}")
    places = [index for index, option in enumerate(options) if option in wanted]
    if style == "key":
        return ", ".join(_letter(index) for index in places)
    if style in ("text", "inline"):
        return ", ".join(options[index] for index in places)
    return "\n".join(_entry(index, options[index], style) for index in places)


def read_choices(answer: str, options: Sequence[str]) -> list[str] | None:
    """The choices an answer names, in menu order; None if it names none.

    Looked for in this order, until something is found: lines that are entries of the menu as some style shows them; the
    words of choices, wherever they stand whole (a choice inside a longer one that is named does not count); letters or
    numbers alone, in brackets, or before a full stop, bracket or colon where an entry begins. So the words of
    ``(A) second`` count and not its letter, and a choice that is itself a letter or number is read as its words.

    Args:
        answer: a model's words.
        options: the choices, as they were shown.
    """
    text = answer.strip()
    found = _entries(text, options) or _named(text, options) or _keyed(text, len(options))
    return [options[index] for index in sorted(found)] or None


def _entries(text: str, options: Sequence[str]) -> set[int]:
    lines = {" ".join(line.casefold().split()) for line in text.splitlines() if line.strip()}
    for style in ("letters", "numbers", "bullets"):
        shown = [" ".join(_entry(index, option, style).casefold().split()) for index, option in enumerate(options)]
        if lines and lines <= set(shown):
            return {index for index, entry in enumerate(shown) if entry in lines}
    return set()


def _named(text: str, options: Sequence[str]) -> set[int]:
    found = set()
    left = " ".join(text.casefold().split())
    for index in sorted(range(len(options)), key=lambda index: (-len(options[index]), index)):
        words = re.escape(" ".join(options[index].casefold().split()))
        left, times = re.subn(rf"(?<!\w){words}(?!\w)", "\n", left)
        if times:
            found.add(index)
    return found


_KEY = r"[A-Za-z]{1,2}|\d{1,2}"
_ONLY_KEYS = re.compile(rf"\(?({_KEY})\)?[.:]?")
_KEYS = re.compile(rf"\(({_KEY})\)|(?:^|[\n,;:])\s*([A-Z]{{1,2}}|\d{{1,2}})(?=[.):](?!\d)|\s*(?:$|[\n,;]))")
_ANNOUNCED = re.compile(
    r"(?:the\s+)?(?:(?:correct|right|best|final)\s+)?(?:answer|option|choice|letter)s?\s*(?:is|are|:)?\s*", re.I
)


def _keyed(text: str, count: int) -> set[int]:
    """Choices named by letters or numbers alone."""
    text = text.removeprefix(match[0]) if (match := _ANNOUNCED.match(text)) else text
    parts = [part.strip() for part in re.split(r"[\n,;&]|\band\b|\bor\b", text.rstrip(". ")) if part.strip()]
    alone = [_ONLY_KEYS.fullmatch(part) for part in parts]
    keys = [match[1] for match in alone if match]
    if not keys or len(keys) < len(parts):
        keys = [match[1] or match[2] for match in _KEYS.finditer(text)]
    return {index for index in map(_index, keys) if 0 <= index < count}


def _index(key: str) -> int:
    """Place in the menu of a letter or number; the inverse of :func:`_letter`."""
    if key.isdigit():
        return int(key) - 1
    index = 0
    for letter in key.upper():
        index = index * 26 + string.ascii_uppercase.index(letter) + 1
    return index - 1


def _entry(index: int, option: str, style: str) -> str:
    if style == "letters":
        return f"({_letter(index)}) {option}"
    if style == "numbers":
        return f"{index + 1}. {option}"
    if style == "bullets":
        return f"- {option}"
    raise ValueError(f"no menu style {style!r}; there are: {', '.join(STYLES)}")


def _letter(index: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    letters = string.ascii_uppercase
    return letters[index] if index < 26 else letters[index // 26 - 1] + letters[index % 26]
