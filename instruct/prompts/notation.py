"""Notations: how a family of models writes places in an image, and how its answers are read.

A shape is a list of points: one for a point, two (top left, bottom right) for a box, three or more for a polygon. A
notation knows nothing else; what of a region becomes a shape is :mod:`instruct.prompts.dialect`'s matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

Kind = Literal["box", "point", "polygon"]
Point = tuple[float, float]

# Points that a shape of each kind has: fewest, most.
_POINTS = {"box": (2, 2), "point": (1, 1), "polygon": (3, 1_000_000)}
_NUMBER = r"-?\d+(?:\.\d+)?"


@dataclass(frozen=True)
class Shape:
    """A place in an image.

    Attributes:
        points: x, y as shares of width and height, 0-1.
        label: what is there; empty for none.
    """

    points: tuple[Point, ...]
    label: str = ""


class Notation(Protocol):
    """How shapes are written and read. Sizes are (height, width) in pixels, None where not known."""

    def write(self, kind: Kind, shapes: Sequence[tuple[Shape, Sequence[int] | None]]) -> str:
        """Shapes of one kind, each with the size of its image, as text."""

    def read(self, kind: Kind, text: str, size: Sequence[int] | None) -> list[Shape]:
        """The shapes of a kind that a text holds, in its order; those that are no such shape are left out."""


@dataclass(frozen=True)
class Scale:
    """How one coordinate is written.

    Attributes:
        write: share and length of the side in pixels (0 where not known) to text.
        unit: length of the side in pixels to the number that stands for its whole.
        pixels: whether the length must be known.
    """

    write: Callable[[float, int], str]
    unit: Callable[[int], float]
    pixels: bool = False

    def texts(self, shape: Shape, size: Sequence[int] | None) -> list[tuple[str, str]]:
        """The points of a shape as texts, clipped to the image; of equal neighbours in a polygon one is enough."""
        height, width = self._sides(size)
        written = [(self.write(_clip(x), width), self.write(_clip(y), height)) for x, y in shape.points]
        if len(written) > 3:
            distinct = [written[0], *(point for before, point in pairwise(written) if point != before)]
            written = distinct if len(distinct) > 2 else written[:3]
        return written

    def shape(self, kind: Kind, values: Sequence[float], label: str, size: Sequence[int] | None) -> Shape | None:
        """A shape of a kind from x, y, x, y, ...; None if it is none, or lies outside the image."""
        height, width = self._sides(size)
        x_unit, y_unit = self.unit(width), self.unit(height)
        points = tuple((x / x_unit, y / y_unit) for x, y in zip(values[::2], values[1::2], strict=True))
        fewest, most = _POINTS[kind]
        if not fewest <= len(points) <= most or not all(0 <= value <= 1 for point in points for value in point):
            return None
        if kind == "box" and (points[0][0] > points[1][0] or points[0][1] > points[1][1]):
            return None
        return Shape(points, label)

    def _sides(self, size: Sequence[int] | None) -> tuple[int, int]:
        if size:
            return int(size[0]), int(size[1])
        if self.pixels:
            raise ValueError("the dialect 'pixels' needs the size of the image, which is not known")
        return 0, 0


def _clip(share: float) -> float:
    return min(max(share, 0.0), 1.0)


THOUSANDTHS = Scale(lambda share, side: str(round(share * 1000)), lambda side: 1000.0)
SHARES = Scale(lambda share, side: f"{share:.3f}", lambda side: 1.0)
PIXELS = Scale(lambda share, side: str(round(share * side)), float, pixels=True)
# CheXagent's quantisation: thousandths cut off, then rounded to hundredths.
HUNDREDTHS = Scale(lambda share, side: str(round(min(int(share * 1000), 999) / 10)), lambda side: 100.0)
LOCATIONS = Scale(lambda share, side: f"<loc{min(round(share * 1024), 1023):04d}>", lambda side: 1024.0)


@dataclass(frozen=True)
class Brackets:
    """``nodule [102, 200, 504, 750]``, a point ``[102, 200]``, a polygon ``[[102, 200], [504, 200], [504, 750]]``."""

    scale: Scale

    def write(self, kind: Kind, shapes: Sequence[tuple[Shape, Sequence[int] | None]]) -> str:
        """See :class:`Notation`."""
        texts = []
        for shape, size in shapes:
            points = [", ".join(point) for point in self.scale.texts(shape, size)]
            inner = ", ".join(f"[{point}]" for point in points) if kind == "polygon" else ", ".join(points)
            texts.append(f"{shape.label} [{inner}]" if shape.label else f"[{inner}]")
        return " ".join(texts)

    def read(self, kind: Kind, text: str, size: Sequence[int] | None) -> list[Shape]:
        """See :class:`Notation`."""
        shapes, end = [], 0
        for match in _BRACKETS[kind].finditer(text):
            label = text[end : match.start()].strip(" \n,;:.")
            end = match.end()
            shape = self.scale.shape(kind, [float(value) for value in re.findall(_NUMBER, match[0])], label, size)
            if shape is not None:
                shapes.append(shape)
        return shapes


_PAIR = rf"\[\s*{_NUMBER}\s*,\s*{_NUMBER}\s*\]"
_BRACKETS = {
    "box": re.compile(rf"\[\s*{_NUMBER}(?:\s*,\s*{_NUMBER}){{3}}\s*\]"),
    "point": re.compile(_PAIR),
    "polygon": re.compile(rf"\[\s*{_PAIR}(?:\s*,\s*{_PAIR})*\s*\]"),
}


@dataclass(frozen=True)
class Json:
    """``[{"bbox_2d": [102, 200, 504, 750], "label": "nodule"}]``; also ``point_2d`` and ``polygon_2d``."""

    scale: Scale

    def write(self, kind: Kind, shapes: Sequence[tuple[Shape, Sequence[int] | None]]) -> str:
        """See :class:`Notation`."""
        items = []
        for shape, size in shapes:
            points = [[json.loads(value) for value in point] for point in self.scale.texts(shape, size)]
            value = points if kind == "polygon" else [value for point in points for value in point]
            items.append({_JSON_KEYS[kind]: value} | ({"label": shape.label} if shape.label else {}))
        return json.dumps(items, ensure_ascii=False)

    def read(self, kind: Kind, text: str, size: Sequence[int] | None) -> list[Shape]:
        """See :class:`Notation`."""
        shapes = []
        for item in _json_items(text):
            values = _flat(kind, item.get(_JSON_KEYS[kind]))
            shape = self.scale.shape(kind, values, str(item.get("label", "")), size)
            if shape is not None:
                shapes.append(shape)
        return shapes


_JSON_KEYS = {"box": "bbox_2d", "point": "point_2d", "polygon": "polygon_2d"}


def _flat(kind: Kind, values: Any) -> list[float]:
    """The numbers of a shape in JSON, x, y, x, y, ...; none where they are laid out otherwise."""
    if kind == "polygon":
        pairs = values if isinstance(values, list) else []
        values = [value for pair in pairs if isinstance(pair, list) and len(pair) == 2 for value in pair]
        if len(values) != 2 * len(pairs):
            return []
    numbers = isinstance(values, list) and all(isinstance(value, int | float) and abs(value) < 1e9 for value in values)
    return values if numbers and len(values) % 2 == 0 else []


def _json_items(text: str) -> Iterator[dict[str, Any]]:
    """Objects of the first JSON list or object in a text, which may stand in other words."""
    start = re.search(r"[\[{]", text)
    try:
        found = json.JSONDecoder().raw_decode(text[start.start() :])[0] if start else []
    except (ValueError, RecursionError):  # brackets or digits without end are neither
        return
    yield from (item for item in (found if isinstance(found, list) else [found]) if isinstance(item, dict))


@dataclass(frozen=True)
class Tags:
    """``<|ref|>nodule<|/ref|><|box|>(10,20),(50,75)<|/box|>``, also ``<|point|>`` and ``<|poly|>``; boxes sorted."""

    scale: Scale

    def write(self, kind: Kind, shapes: Sequence[tuple[Shape, Sequence[int] | None]]) -> str:
        """See :class:`Notation`."""
        if kind == "box":
            shapes = sorted(shapes, key=lambda entry: entry[0].points[0])
        texts = []
        for shape, size in shapes:
            name = f"<|ref|>{shape.label}<|/ref|>" if shape.label else ""
            points = ",".join(f"({x},{y})" for x, y in self.scale.texts(shape, size))
            texts.append(f"{name}<|{_TAG_NAMES[kind]}|>{points}<|/{_TAG_NAMES[kind]}|>")
        return " ".join(texts)

    def read(self, kind: Kind, text: str, size: Sequence[int] | None) -> list[Shape]:
        """See :class:`Notation`."""
        name = _TAG_NAMES[kind]
        pattern = rf"(?:<\|ref\|>((?:(?!<\|).)*)<\|/ref\|>\s*)?<\|{name}\|>((?:[\d\s.,()])*)<\|/{name}\|>"
        found = [
            self.scale.shape(kind, [float(value) for pair in pairs for value in pair], match[1] or "", size)
            for match in re.finditer(pattern, text)
            if (pairs := re.findall(rf"\(\s*({_NUMBER})\s*,\s*({_NUMBER})\s*\)", match[2]))
        ]
        return [shape for shape in found if shape is not None]


_TAG_NAMES = {"box": "box", "point": "point", "polygon": "poly"}


@dataclass(frozen=True)
class Locations:
    """``<loc0205><loc0104><loc0768><loc0516> nodule``: y before x, two tokens for each point, joined by `` ; ``."""

    scale: Scale

    def write(self, kind: Kind, shapes: Sequence[tuple[Shape, Sequence[int] | None]]) -> str:
        """See :class:`Notation`."""
        texts = []
        for shape, size in shapes:
            points = "".join(y + x for x, y in self.scale.texts(shape, size))
            texts.append(f"{points} {shape.label}" if shape.label else points)
        return " ; ".join(texts)

    def read(self, kind: Kind, text: str, size: Sequence[int] | None) -> list[Shape]:
        """See :class:`Notation`."""
        found = []
        for match in re.finditer(r"((?:<loc\d{4}>)+)([^;<]*)", text):
            numbers = [float(value) for value in re.findall(r"\d{4}", match[1])]
            if len(numbers) % 2 == 0:
                values = [value for y, x in zip(numbers[::2], numbers[1::2], strict=True) for value in (x, y)]
                found.append(self.scale.shape(kind, values, match[2].strip(), size))
        return [shape for shape in found if shape is not None]


NOTATIONS: dict[str, Notation] = {
    "thousand": Brackets(THOUSANDTHS),
    "unit": Brackets(SHARES),
    "json": Json(THOUSANDTHS),
    "pixels": Brackets(PIXELS),
    "tags": Tags(HUNDREDTHS),
    "paligemma": Locations(LOCATIONS),
}
