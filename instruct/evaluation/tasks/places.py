"""Boxes and polygons of an answer: read by the dialect that the row names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from instruct.errors import DataError
from instruct.evaluation.tasks.answers import is_number
from instruct.prompts.dialect import DIALECTS, ReadBox, read_boxes, read_polygons
from instruct.prompts.notation import Shape

Size = Sequence[int]
Form = Literal["box", "polygon"]
_LONGEST = 1_000_000


def read_places(text: str, extra: Mapping[str, Any], form: Form) -> list[dict[str, Any]] | None:
    """Places of a text, as ``{"box": [x1, y1, x2, y2], "label"}`` or ``{"polygon": [[x, y], ...], "label"}``, 0-1.

    Args:
        text: a model's answer.
        extra: the row's fields: ``dialect``, and ``size`` (height, width), which ``pixels`` needs.
        form: what to look for first; where there is none, a text in the other form is read as that.

    Returns:
        The places; an empty list if the answer says there is none; None if it cannot be read.

    Raises:
        DataError: there is no such dialect, or no size where it needs one.
    """
    dialect, size = extra["dialect"], extra.get("size")
    if dialect not in DIALECTS:
        raise DataError(f"dialect is {dialect!r}; expected one of {', '.join(DIALECTS)}")
    if dialect == "pixels" and not is_size(size):
        raise DataError(f"size is {size!r}; the dialect 'pixels' needs the image's height and width, like [512, 512]")
    boxes, polygons = read_boxes(text, dialect, size), read_polygons(text, dialect, size)
    in_form: dict[Form, list[dict[str, Any]] | None] = {
        "box": None if boxes is None else [_box(one) for one in boxes],
        "polygon": None if polygons is None else [_polygon(one) for one in polygons],
    }
    first, other = in_form[form], in_form["polygon" if form == "box" else "box"]
    return first or other or first


def is_size(value: Any) -> bool:
    """Height and width of an image in pixels."""
    return (
        isinstance(value, (list, tuple))
        and len(value) == 2
        and all(isinstance(side, int) and 0 < side <= _LONGEST for side in value)
    )


def is_box(value: Any) -> bool:
    """Four numbers."""
    return isinstance(value, (list, tuple)) and len(value) == 4 and all(map(is_number, value))


def is_polygon(value: Any) -> bool:
    """Three points or more, two numbers each."""
    return isinstance(value, (list, tuple)) and len(value) >= 3 and all(map(_is_point, value))


def _is_point(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(is_number, value))


def asks_for(extra: Mapping[str, Any], form: Form) -> bool:
    """Whether a row is scored as boxes, or as polygons: ``shape`` says which was asked for; without it, as both."""
    return extra.get("shape") in (None, form)


def _box(one: ReadBox) -> dict[str, Any]:
    return {"box": list(one.box), "label": one.label}


def _polygon(one: Shape) -> dict[str, Any]:
    return {"polygon": [list(point) for point in one.points], "label": one.label}
