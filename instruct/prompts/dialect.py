"""Dialects: how boxes are printed for a family of models, and read back from its answers.

=============  =========================================================================  ====================
name           a box                                                                      error at most
=============  =========================================================================  ====================
``thousand``   ``[102, 200, 504, 750]``, integers 0-1000 of width and height              1/2000 of the side
``unit``       ``[0.102, 0.200, 0.504, 0.750]``                                           1/2000 of the side
``json``       ``[{"bbox_2d": [102, 200, 504, 750], "label": "nodule"}]``, 0-1000         1/2000 of the side
``pixels``     ``[102, 200, 504, 750]`` in pixels of the source image                     half a pixel
``tags``       ``<|ref|>nodule<|/ref|><|box|>(10,20),(50,75)<|/box|>``, 0-100             1/100 of the side
``paligemma``  ``<loc0205><loc0104><loc0768><loc0516> nodule``: y1 x1 y2 x2, 0-1023       1/1024 of the side
=============  =========================================================================  ====================

``tags`` is CheXagent's form with its quantisation (thousandths cut off, then rounded to hundredths). A record's boxes
are printed in its order; several are separated by a blank, in ``json`` they are one list. No box prints as ``none``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Box = tuple[float, float, float, float]
NONE = "none"


@dataclass(frozen=True)
class ReadBox:
    """A box read from an answer.

    Attributes:
        box: x1, y1, x2, y2 as shares of width and height, 0-1.
        label: the label printed with it; empty if there was none.
    """

    box: Box
    label: str = ""


@dataclass(frozen=True)
class Dialect:
    """How boxes are printed and read back.

    Attributes:
        write: regions, and whether their labels are printed, to text.
        read: text and image size (height, width) in pixels to boxes, in the order of the text.
    """

    write: Callable[[Sequence[Mapping[str, Any]], bool], str]
    read: Callable[[str, Sequence[int] | None], list[ReadBox]]


def region_filters(dialect: str) -> dict[str, Callable[..., str]]:
    """The template filter ``boxes`` of a dialect: ``{{ regions | boxes }}``, or ``boxes(labels=true)``."""
    write = DIALECTS[dialect].write

    def boxes(regions: Sequence[Mapping[str, Any]] | Mapping[str, Any], labels: bool = False) -> str:
        held = [regions] if isinstance(regions, Mapping) else list(regions)
        return write(held, labels) if held else NONE

    return {"boxes": boxes}


def read_boxes(text: str, dialect: str, size: Sequence[int] | None = None) -> list[ReadBox] | None:
    """Boxes of an answer.

    Args:
        text: a model's answer.
        dialect: the dialect it was asked in.
        size: height and width of the image in pixels; only ``pixels`` needs it.

    Returns:
        The boxes; an empty list if the answer says there is none; None if it cannot be read.
    """
    boxes = DIALECTS[dialect].read(text, size)
    if boxes:
        return boxes
    return [] if re.fullmatch(r"\W*(none|no|nothing|\[\s*\])\b.*", text.strip(), re.IGNORECASE | re.DOTALL) else None


def _scaled(region: Mapping[str, Any], scale: Callable[[float, int], Any]) -> list[Any]:
    """The four coordinates through a scale; its second argument is 0 for x, 1 for y."""
    return [scale(min(max(value, 0.0), 1.0), axis % 2) for axis, value in enumerate(region["box"])]


def _with_label(text: str, region: Mapping[str, Any], labels: bool) -> str:
    return f"{region['label']} {text}" if labels and region["label"] else text


_BOX = re.compile(r"\[\s*([-\d.]+)\s*,\s*([-\d.]+)\s*,\s*([-\d.]+)\s*,\s*([-\d.]+)\s*\]")


def _bracketed(scale: Callable[[Mapping[str, Any]], Callable[[float, int], str]]) -> Any:
    def write(regions: Sequence[Mapping[str, Any]], labels: bool) -> str:
        return " ".join(
            _with_label("[" + ", ".join(_scaled(region, scale(region))) + "]", region, labels) for region in regions
        )

    return write


def _read_bracketed(divisor: Callable[[Sequence[int] | None], tuple[float, float]]) -> Any:
    def read(text: str, size: Sequence[int] | None) -> list[ReadBox]:
        width, height = divisor(size)
        boxes, end = [], 0
        for match in _BOX.finditer(text):
            label = text[end : match.start()].strip(" \n,;:.")
            end = match.end()
            box = _box([float(value) for value in match.groups()], (width, height))
            if box is not None:
                boxes.append(ReadBox(box, label))
        return boxes

    return read


def _box(values: Sequence[float], divisor: tuple[float, float]) -> Box | None:
    """Coordinates as shares, None where they are no box: out of the image, or with its corners in the wrong order."""
    x1, y1, x2, y2 = (value / divisor[axis % 2] for axis, value in enumerate(values))
    if not (0 <= x1 <= x2 <= 1 and 0 <= y1 <= y2 <= 1):
        return None
    return (x1, y1, x2, y2)


def _thousandths(value: float, axis: int) -> str:
    return str(round(value * 1000))


def _pixels(region: Mapping[str, Any]) -> Callable[[float, int], str]:
    if not region["size"]:
        raise ValueError("the dialect 'pixels' needs the size of the image, which the source does not give")
    height, width = region["size"]
    return lambda value, axis: str(round(value * (height if axis else width)))


def _pixel_divisor(size: Sequence[int] | None) -> tuple[float, float]:
    if not size:
        raise ValueError("the dialect 'pixels' needs the size of the image")
    return (float(size[1]), float(size[0]))


def _write_json(regions: Sequence[Mapping[str, Any]], labels: bool) -> str:
    items = []
    for region in regions:
        item: dict[str, Any] = {"bbox_2d": _scaled(region, lambda value, axis: round(value * 1000))}
        items.append(item | {"label": region["label"]} if labels and region["label"] else item)
    return json.dumps(items, ensure_ascii=False)


def _read_json(text: str, size: Sequence[int] | None) -> list[ReadBox]:
    start, end = text.find("["), text.rfind("]")
    try:
        items = json.loads(text[start : end + 1])
    except ValueError:
        return []
    boxes = []
    for item in items if isinstance(items, list) else ():
        values = item.get("bbox_2d") if isinstance(item, dict) else None
        if isinstance(values, list) and len(values) == 4 and all(isinstance(value, int | float) for value in values):
            box = _box(values, (1000.0, 1000.0))
            if box is not None:
                boxes.append(ReadBox(box, str(item.get("label", ""))))
    return boxes


def _write_tags(regions: Sequence[Mapping[str, Any]], labels: bool) -> str:
    texts = []
    for region in sorted(regions, key=lambda region: tuple(region["box"][:2])):
        x1, y1, x2, y2 = _scaled(region, lambda value, axis: round(min(int(value * 1000), 999) / 10))
        name = f"<|ref|>{region['label']}<|/ref|>" if labels and region["label"] else ""
        texts.append(f"{name}<|box|>({x1},{y1}),({x2},{y2})<|/box|>")
    return " ".join(texts)


_TAGGED = re.compile(
    r"(?:<\|ref\|>(.*?)<\|/ref\|>\s*)?<\|box\|>\s*\((\d+)\s*,\s*(\d+)\)\s*,\s*\((\d+)\s*,\s*(\d+)\)\s*<\|/box\|>"
)


def _read_tags(text: str, size: Sequence[int] | None) -> list[ReadBox]:
    found = [
        (match[1] or "", _box([float(value) for value in match.groups()[1:]], (100, 100)))
        for match in _TAGGED.finditer(text)
    ]
    return [ReadBox(box, label) for label, box in found if box is not None]


def _write_paligemma(regions: Sequence[Mapping[str, Any]], labels: bool) -> str:
    texts = []
    for region in regions:
        x1, y1, x2, y2 = _scaled(region, lambda value, axis: f"<loc{min(round(value * 1024), 1023):04d}>")
        texts.append(f"{y1}{x1}{y2}{x2}" + (f" {region['label']}" if labels and region["label"] else ""))
    return " ; ".join(texts)


_LOCATED = re.compile(r"<loc(\d{4})><loc(\d{4})><loc(\d{4})><loc(\d{4})>([^;<]*)")


def _read_paligemma(text: str, size: Sequence[int] | None) -> list[ReadBox]:
    boxes = []
    for match in _LOCATED.finditer(text):
        y1, x1, y2, x2 = (float(value) for value in match.groups()[:4])
        box = _box([x1, y1, x2, y2], (1024, 1024))
        if box is not None:
            boxes.append(ReadBox(box, match[5].strip()))
    return boxes


DIALECTS: dict[str, Dialect] = {
    "thousand": Dialect(_bracketed(lambda region: _thousandths), _read_bracketed(lambda size: (1000, 1000))),
    "unit": Dialect(
        _bracketed(lambda region: lambda value, axis: f"{value:.3f}"), _read_bracketed(lambda size: (1, 1))
    ),
    "json": Dialect(_write_json, _read_json),
    "pixels": Dialect(_bracketed(_pixels), _read_bracketed(_pixel_divisor)),
    "tags": Dialect(_write_tags, _read_tags),
    "paligemma": Dialect(_write_paligemma, _read_paligemma),
}
