"""Filters that this package adds to Jinja's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from instruct.prompts.menu import chosen, menu


def listing(items: Sequence[str], last: str = "and") -> str:
    """Items as a phrase: ``a``, ``a and b``, ``a, b and c``."""
    items = list(items)
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {last} {items[-1]}"


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop, if it has no end mark; the rest is kept as it is."""
    text = text.strip()
    if not text:
        return text
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def as_json(value: Any) -> str:
    """Texts, numbers and lists of them as JSON on one line, letters outside ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)


FILTERS: dict[str, Callable[..., Any]] = {
    "listing": listing,
    "sentence": sentence,
    "json": as_json,
    "menu": menu,
    "chosen": chosen,
}
