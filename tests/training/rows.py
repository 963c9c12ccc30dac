"""Rows made up for one test: conversations of any shape, with images of any size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from PIL import Image


def png(width: int = 40, height: int = 30, mode: str = "L", value: Any = 128) -> bytes:
    """An image of one colour, as the bytes of a PNG."""
    out = io.BytesIO()
    Image.new(mode, (width, height), value).save(out, "PNG")
    return out.getvalue()


def text(words: str) -> dict[str, Any]:
    """A text part."""
    return {"type": "text", "text": words}


IMAGE: dict[str, Any] = {"type": "image", "text": None}


def row(
    *turns: tuple[str, str | Sequence[dict[str, Any]]],
    images: Sequence[bytes | dict[str, Any]] = (),
    name: str = "a",
) -> dict[str, Any]:
    """A row as the shards have it; a turn is a role and a text, or parts."""
    return {
        "id": name,
        "images": [one if isinstance(one, dict) else {"bytes": one, "path": None} for one in images],
        "messages": [
            {"role": role, "content": [text(content)] if isinstance(content, str) else list(content)}
            for role, content in turns
        ],
    }


def question(
    answer: str = "Yes.", *images: bytes, asked: str = "Is the heart large?", name: str = "a"
) -> dict[str, Any]:
    """A question about images, and its answer."""
    return row(("user", [*[IMAGE] * len(images), text(asked)]), ("assistant", answer), images=images, name=name)
