"""Masks: Dice and IoU of regions given as arrays or polygons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import answers_and_targets, json_of
from instruct.evaluation.tasks.places import asks_for, is_box, is_polygon, is_size, read_places
from instruct.polygons import fill
from instruct.regions import decode_mask

Mask = NDArray[np.bool_]
SIDE = 512
_MOST_PIXELS = 1 << 28


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
        mask: more of it, in pixels; None where it is known as polygons alone.
    """

    polygons: Sequence[Sequence[Sequence[float]]]
    mask: Mask | None = None

    def draw(self, height: int, width: int) -> Mask:
        """The region as a mask of its own size, or of this one if it has none."""
        if self.mask is None:
            return fill(self.polygons, height, width)
        return self.mask | fill(self.polygons, *self.mask.shape)


def area_of(value: Any, extra: Mapping[str, Any]) -> Area | None:
    """A region from polygons, boxes or masks.

    Understood are lists of polygons, each at least three [x, y] in 0–1, and of objects with a ``polygon``, a ``box``
    [x1, y1, x2, y2] in 0–1, or a ``mask`` (COCO run lengths) and its ``size`` (height, width); an object with a mask
    is not read further. A text is read in the row's ``dialect``; without one it must be such JSON, or "none".
    """
    if isinstance(value, str) and extra.get("dialect"):
        value = read_places(value, extra, "polygon")
    if isinstance(value, str):
        value = [] if value.strip().strip(".").lower() == "none" else json_of(value)
    if not isinstance(value, list):
        return None
    masked = [item for item in value if isinstance(item, dict) and item.get("mask")]
    polygons = [_corners(item) if isinstance(item, dict) else item for item in value if item not in masked]
    if not all(map(is_polygon, polygons)):
        return None
    if not masked:
        return Area(polygons)
    size: Any = masked[0].get("size")
    if not is_size(size) or size[0] * size[1] > _MOST_PIXELS or any(item.get("size") != size for item in masked):
        return None
    try:
        masks = [decode_mask(str(item["mask"]), size[0], size[1]) for item in masked]
    except ValueError:
        return None
    return Area(polygons, np.any(masks, axis=0))


def _corners(item: Mapping[str, Any]) -> Any:
    box = item.get("box")
    if is_box(box):
        left, top, right, bottom = item["box"]
        return [[left, top], [right, top], [right, bottom], [left, bottom]]
    return item.get("polygon")


def _score(pairs: Pairs, settings: Settings) -> Scores:
    answers, targets = answers_and_targets(pairs, area_of)
    overlap = np.zeros((len(pairs), 2))
    unread = 0
    for row, (answer, target, extra) in enumerate(zip(answers, targets, pairs.extras, strict=True)):
        drawn = None if answer is None else _drawn(answer, target)
        unread += drawn is None
        if not asks_for(extra, "polygon"):
            overlap[row] = np.nan
        elif drawn is not None:
            overlap[row] = dice(*drawn), mask_iou(*drawn)
    return Scores({"dice": overlap[:, 0], "mask_iou": overlap[:, 1]}, {"unparsed_answers": unread})


def _drawn(answer: Area, target: Area) -> tuple[Mask, Mask] | None:
    """Both as masks of one size; None where both have one of their own and these differ."""
    size = (SIDE, SIDE) if answer.mask is None else answer.mask.shape
    reference = target.draw(*size)
    prediction = answer.draw(*reference.shape)
    return (prediction, reference) if prediction.shape == reference.shape else None


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
