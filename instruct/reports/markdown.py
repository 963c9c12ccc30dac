"""Markdown from data that nobody has read: names and values show as they are, and do nothing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# Longer values of data (a label, a manufacturer) are cut.
_LONGEST = 60
_MARKS = re.compile(r"([\\`*_\[\]#|~!$])")
_ADDRESSES = re.compile(r"(?i)(://|\bwww\.|\bmailto:|@)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


class Markdown(str):
    """Text that is Markdown already; everything else is escaped before it is put into a report."""

    __slots__ = ()


def visible(text: object) -> str:
    """A value as one line of visible characters: no control, direction or zero-width characters."""
    shown = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in str(text))
    return " ".join(shown.split())


def plain(text: object) -> str:
    """A value of data as one line of visible characters, cut where it is overlong."""
    shown = visible(text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def escape(text: object) -> Markdown:
    """A value as Markdown that shows it: no markup, HTML, link or mathematics comes out of it."""
    if isinstance(text, Markdown):
        return text
    shown = _MARKS.sub(r"\\\1", visible(text))
    shown = "".join(_ENTITIES.get(char, char) for char in shown)
    return Markdown(_ADDRESSES.sub(_defused, shown))


def _defused(match: re.Match[str]) -> str:
    """What would become a link by itself, with its marks as entities."""
    return "".join(f"&#{ord(char)};" if char in ":.@" else char for char in match[0])


def code(text: str, language: str = "") -> Markdown:
    """A text as a block of code, in a fence that it does not hold."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markdown(f"{fence}{language}\n{text}\n{fence}")


def bullets(items: Iterable[str]) -> Markdown:
    """Items as a list; each is escaped unless it is Markdown."""
    return Markdown("\n".join(f"- {escape(item)}" for item in items))


@dataclass(frozen=True)
class Table:
    """A table of a report: printed in a terminal, or as Markdown.

    Attributes:
        title: what it shows.
        heads: heads of the columns.
        rows: cells; numbers are right-aligned.
        note: what to know when reading it.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""

    def markdown(self) -> Markdown:
        """The table with its note, without its title."""
        numeric = [self.is_numeric(place) for place in range(len(self.heads))]
        lines = [
            "| " + " | ".join(escape(head) for head in self.heads) + " |",
            "|" + "|".join("---:" if right else ":---" for right in numeric) + "|",
            *("| " + " | ".join(escape(show(cell)) for cell in row) + " |" for row in self.rows),
        ]
        if self.note:
            lines += ["", escape(self.note)]
        return Markdown("\n".join(lines))

    def is_numeric(self, place: int) -> bool:
        """Whether a column holds numbers only, and some."""
        cells = [row[place] for row in self.rows if row[place] is not None]
        return bool(cells) and all(isinstance(cell, int | float) for cell in cells)


def show(cell: object) -> object:
    """A cell as text: numbers with separators, nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return cell
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.2f}"
