"""Dialects: how boxes and masks are printed for a family of models, and read back from its answers.

=============  =========================================================================  ======================
name           a box                                                                      a coordinate's error
=============  =========================================================================  ======================
``thousand``   ``[102, 200, 504, 750]``, integers 0-1000 of width and height              1/2000 of the side
``unit``       ``[0.102, 0.200, 0.504, 0.750]``                                           1/2000 of the side
``json``       ``[{"bbox_2d": [102, 200, 504, 750], "label": "nodule"}]``, 0-1000         1/2000 of the side
``pixels``     ``[102, 200, 504, 750]`` in pixels of the source image                     half a pixel
``tags``       ``<|ref|>nodule<|/ref|><|box|>(10,20),(50,75)<|/box|>``, 0-100             1/100 of the side
``paligemma``  ``<loc0205><loc0104><loc0768><loc0516> nodule``: y1 x1 y2 x2, 0-1023       1/1024 of the side
=============  =========================================================================  ======================

``tags`` is CheXagent's form with its quantisation. A record's regions are printed in its order (boxes in ``tags`` from
left to right); several are separated by a blank, in ``json`` they are one list. No region prints as ``none``.

A region can be printed as its box, as a point or as polygons:

=============  =======================  ==========================================================
name           a point                  a polygon
=============  =======================  ==========================================================
``thousand``   ``[303, 475]``           ``[[102, 200], [504, 200], [504, 750]]``; so ``unit``, ``pixels``
``json``       ``{"point_2d": [...]}``  ``{"polygon_2d": [[102, 200], [504, 200], [504, 750]]}``
``tags``       ``<|point|>(30,48)...``  ``<|poly|>(10,20),(50,20),(50,75)<|/poly|>``
``paligemma``  two tokens               six tokens or more
=============  =======================  ==========================================================

The point lies well inside the region's mask, or is the middle of its box. The polygons are the outline of the mask, one
for each connected part, simplified to two thousandths of the longer side; a region without a mask is the polygon of its
box. How far what is read back differs is stated in :mod:`instruct.polygons`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from instruct.polygons import inner_point, outline
from instruct.prompts.notation import NOTATIONS, Kind, Point, Shape
from instruct.regions import Mask, decode_mask

Box = tuple[float, float, float, float]
Region = Mapping[str, Any]
DIALECTS = tuple(NOTATIONS)
NONE = "none"
TOLERANCE = 0.002

_SAYS_NONE = re.compile(r"\W*(none|no|nothing|not (present|seen|visible|found))\b.*|\W*\[\s*\]\W*", re.I | re.S)


@dataclass(frozen=True)
class ReadBox:
    """A box read from an answer.

    Attributes:
        box: x1, y1, x2, y2 as shares of width and height, 0-1.
        label: the label printed with it; empty if there was none.
    """

    box: Box
    label: str = ""


def region_filters(dialect: str) -> dict[str, Callable[..., str]]:
    """The template filters of a dialect.

    ``{{ regions | boxes }}``, ``{{ regions | points }}``, ``{{ regions | polygons }}`` print a list of regions, or one;
    ``boxes(labels=true)`` prints their labels too. ``polygons(tolerance=0)`` keeps every corner.
    """
    notation = NOTATIONS[dialect]

    def printer(kind: Kind, shapes_of: Callable[..., list[tuple[Point, ...]]]) -> Callable[..., str]:
        def write(regions: Sequence[Region] | Region, labels: bool = False, **settings: float) -> str:
            held = [regions] if isinstance(regions, Mapping) else list(regions)
            shapes = [
                (Shape(points, region["label"] or "" if labels else ""), region["size"])
                for region in held
                for points in shapes_of(region, **settings)
            ]
            return notation.write(kind, shapes) if shapes else NONE

        return write

    return {
        "boxes": printer("box", _box),
        "points": printer("point", _point),
        "polygons": printer("polygon", _polygons),
    }


def read_boxes(text: str, dialect: str, size: Sequence[int] | None = None) -> list[ReadBox] | None:
    """Boxes of an answer.

    Args:
        text: a model's answer.
        dialect: the dialect it was asked in.
        size: height and width of the image in pixels; only ``pixels`` needs it.

    Returns:
        The boxes; an empty list if the answer says there is none; None if it cannot be read.
    """
    shapes = _read("box", text, dialect, size)
    if shapes is None:
        return None
    return [ReadBox((*shape.points[0], *shape.points[1]), shape.label) for shape in shapes]


def read_points(text: str, dialect: str, size: Sequence[int] | None = None) -> list[Shape] | None:
    """Points of an answer, each as a shape of one point; otherwise as :func:`read_boxes`."""
    return _read("point", text, dialect, size)


def read_polygons(text: str, dialect: str, size: Sequence[int] | None = None) -> list[Shape] | None:
    """Polygons of an answer, each as a shape of three points or more; otherwise as :func:`read_boxes`.

    :func:`instruct.polygons.fill` makes masks of them.
    """
    return _read("polygon", text, dialect, size)


def _read(kind: Kind, text: str, dialect: str, size: Sequence[int] | None) -> list[Shape] | None:
    shapes = NOTATIONS[dialect].read(kind, text, size)
    if shapes:
        return shapes
    return [] if _SAYS_NONE.fullmatch(text.strip()) else None


def _box(region: Region) -> list[tuple[Point, ...]]:
    x1, y1, x2, y2 = _coordinates(region)
    return [((x1, y1), (x2, y2))]


def _point(region: Region) -> list[tuple[Point, ...]]:
    mask = _mask(region)
    if mask is not None and mask.any():
        return [(inner_point(mask),)]
    x1, y1, x2, y2 = _coordinates(region)
    return [(((x1 + x2) / 2, (y1 + y2) / 2),)]


def _polygons(region: Region, tolerance: float = TOLERANCE) -> list[tuple[Point, ...]]:
    mask = _mask(region)
    if mask is None:
        x1, y1, x2, y2 = _coordinates(region)
        return [((x1, y1), (x2, y1), (x2, y2), (x1, y2))]
    return [tuple((x, y) for x, y in ring.tolist()) for ring in outline(mask, tolerance)]


def _coordinates(region: Region) -> Sequence[float]:
    box: Sequence[float] | None = region["box"]
    if box is None:
        unknown = "the size of its image is not known, is the image on disk?"
        why = unknown if region["size"] is None else "what was drawn has no area within its image"
        raise ValueError(f"the region {region['label']!r} has no box: {why}")
    return box


def _mask(region: Region) -> Mask | None:
    if region["mask"] is None:
        return None
    height, width = region["size"]
    return decode_mask(region["mask"], height, width)
