"""Masks: Dice and IoU of regions given as arrays or polygons."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import answers_and_targets
from instruct.evaluation.tasks.places import asks_for, read_places
from instruct.polygons import fill
from instruct.regions import decode_mask

Mask = NDArray[np.bool_]
SIDE = 512


def dice(prediction: Mask, reference: Mask) -> float:
    """2·|A∩B| / (|A|+|B|) of two masks of one shape; 1 where both are empty."""
    total = int(prediction.sum()) + int(reference.sum())
    return 2 * int((prediction & reference).sum()) / total if total else 1.0


def mask_iou(prediction: Mask, reference: Mask) -> float:
    """|A∩B| / |A∪B| of two masks of one shape; 1 where both are empty."""
    union = int((prediction | reference).sum())
    return int((prediction & reference).sum()) / union if union else 1.0


class Area(NamedTuple):
    """A region of an image.

    Attributes:
        polygons: each three corners or more, x, y in 0–1 of the image's width and height.
        masks: COCO run lengths, over ``size``.
        size: height and width that the region is known in; None where it is known as polygons alone.
    """

    polygons: Sequence[Sequence[Sequence[float]]]
    masks: tuple[str, ...] = ()
    size: tuple[int, int] | None = None

    def draw(self, height: int, width: int) -> Mask:
        """The region as a mask of its own ``size``, or of this one if it has none."""
        height, width = self.size or (height, width)
        mask = fill(self.polygons, height, width)
        for text in self.masks:
            mask |= decode_mask(text, height, width)
        return mask


def rasterise(polygons: Sequence[Sequence[Sequence[float]]], height: int = SIDE, width: int = SIDE) -> Mask:
    """Mask of polygons with corners (x, y) in 0–1 of the image's width and height.

    A pixel is inside where its centre is, by the even-odd rule within a polygon; polygons add up.
    """
    return fill(polygons, height, width)


def area_of(value: Any, extra: Mapping[str, Any]) -> Area | None:
    """A region from polygons, boxes or masks.

    Understood are lists of polygons, each at least three [x, y] in 0–1, and of objects with a ``polygon``, a ``box``
    [x1, y1, x2, y2] in 0–1, or a ``mask`` (COCO run lengths) and its ``size`` (height, width); an object with a mask
    is not read further. A text is read in the row's ``dialect``; without one it must be such JSON, or "none".
    """
    if isinstance(value, str) and extra.get("dialect"):
        value = read_places(value, extra, "polygon")
    if isinstance(value, str):
        if value.strip().strip(".").lower() == "none":
            return Area(())
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return None
    if not isinstance(value, list):
        return None
    masked = [item for item in value if isinstance(item, dict) and item.get("mask")]
    sizes = {tuple(item.get("size") or ()) for item in masked}
    polygons = [_corners(item) if isinstance(item, dict) else item for item in value if item not in masked]
    if not all(map(_is_polygon, polygons)) or not all(len(size) == 2 for size in sizes) or len(sizes) > 1:
        return None
    return Area(polygons, tuple(item["mask"] for item in masked), sizes.pop() if sizes else None)


def _corners(item: Mapping[str, Any]) -> Any:
    box = item.get("box")
    if isinstance(box, list) and len(box) == 4:
        left, top, right, bottom = box
        return [[left, top], [right, top], [right, bottom], [left, bottom]]
    return item.get("polygon")


def _is_polygon(polygon: Any) -> bool:
    return isinstance(polygon, list) and len(polygon) >= 3 and all(map(_is_point, polygon))


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(isinstance(number, (int, float)) for number in point)


def _score(pairs: Pairs, settings: Settings) -> Scores:
    answers, targets = answers_and_targets(pairs, area_of)
    overlap = np.zeros((len(pairs), 2))
    for row, (answer, target, extra) in enumerate(zip(answers, targets, pairs.extras, strict=True)):
        if not asks_for(extra, "polygon"):
            overlap[row] = np.nan
        elif answer is not None:
            reference = target.draw(SIDE, SIDE)
            prediction = answer.draw(*reference.shape)
            overlap[row] = dice(prediction, reference), mask_iou(prediction, reference)
    return Scores(
        {"dice": overlap[:, 0], "mask_iou": overlap[:, 1]},
        {"unparsed_answers": sum(answer is None for answer in answers)},
    )


_DEFINITION = f"{{}} of masks at the true mask's size, {SIDE}x{SIDE} where it is polygons (both empty = 1), mean"
MASKS = Metric(
    name="masks",
    columns=(Column("dice"), Column("mask_iou")),
    statistics=(
        Statistic("dice", "Dice", _DEFINITION.format("dice"), "higher", ("dice",)),
        Statistic("mask_iou", "Mask IoU", _DEFINITION.format("IoU"), "higher", ("mask_iou",)),
    ),
    score=_score,
)
