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
        options: the choices, in the order to show.
        style: ``letters`` (``(A) first``), ``numbers`` (``1. first``), ``bullets`` (``- first``), each on a line of
            its own, or ``inline`` (``first, second or third``).
    """
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

    Letters and numbers count as such only where an entry begins: in brackets, before a full stop or bracket, or as the
    whole of an entry. Words count wherever they stand whole; a choice inside a longer one that is named does not.

    Args:
        answer: a model's words.
        options: the choices, as they were shown.
    """
    found: set[int] = set()
    text = answer.strip()
    for match in re.finditer(r"\(([A-Za-z])\)|(?:^|[\n,;])\s*([A-Z]|\d{1,2})(?=[.):]|\s*(?:$|[\n,;]))", text):
        key = match[1] or match[2]
        index = int(key) - 1 if key.isdigit() else string.ascii_uppercase.index(key.upper())
        if 0 <= index < len(options):
            found.add(index)
    covered = text.lower()
    for index in sorted(range(len(options)), key=lambda index: -len(options[index])):
        pattern = rf"(?<!\w){re.escape(options[index].lower())}(?!\w)"
        if re.search(pattern, covered):
            found.add(index)
            covered = re.sub(pattern, " ", covered)
    return [options[index] for index in sorted(found)] or None


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
