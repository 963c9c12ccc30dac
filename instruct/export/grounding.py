"""Boxes for ms-swift: printed coordinates become ``<bbox>`` marks, which it words in each model's own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from instruct.prompts.dialect import region_filters

_MARK = "<bbox>"
# Dialects that print a box as nothing but its coordinates in brackets; of others, parts of the wording would stay.
BOX_DIALECTS = ("thousand", "unit", "pixels")


def with_boxes(
    texts: Sequence[str], regions: Sequence[Mapping[str, Any]], dialect: str
) -> tuple[list[str], dict[str, Any]]:
    """Texts with a mark in the place of each printed box, and the boxes in the order of the marks.

    An example that does not print each of its regions as a box just once and in order (it prints polygons, or one box
    twice) keeps its texts, and no boxes are given.

    Args:
        texts: the turns of an example.
        regions: its regions.
        dialect: one of :data:`BOX_DIALECTS`.

    Returns:
        The texts, and ms-swift's ``objects``: ``bbox`` as shares of width and height (``bbox_type`` norm1), and
        ``image_id``, the place of each box's image in ``images``.
    """
    unchanged = list(texts), _objects([])
    if not regions or any(region["box"] is None for region in regions) or any(_MARK in text for text in texts):
        return unchanged
    print_boxes = _printer(dialect)
    printed = [print_boxes([region]) for region in regions]
    changed, held = [], 0
    for text in texts:
        pieces, end = [], 0
        while held < len(printed) and (start := text.find(printed[held], end)) >= 0:
            pieces += [text[end:start], _MARK]
            end = start + len(printed[held])
            held += 1
        changed.append("".join([*pieces, text[end:]]))
    if held < len(printed) or any(box in text for text in changed for box in printed):
        return unchanged
    return changed, _objects(regions)


@cache
def _printer(dialect: str) -> Any:
    return region_filters(dialect)["boxes"]


def _objects(regions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "ref": [],
        "bbox": [[float(value) for value in region["box"]] for region in regions],
        "bbox_type": "norm1",
        "image_id": [int(region["image"] or 0) for region in regions],
    }
