"""Masks: Dice and IoU of regions given as arrays or polygons."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import answers_and_targets

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


def rasterise(polygons: Sequence[Sequence[Sequence[float]]], height: int = SIDE, width: int = SIDE) -> Mask:
    """Mask of polygons with corners (x, y) in 0–1 of the image's width and height.

    A pixel is inside where its centre is, by the even-odd rule within a polygon; polygons add up.
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    x = (np.arange(width) + 0.5) / width
    y = ((np.arange(height) + 0.5) / height)[:, None]
    for polygon in polygons:
        inside = np.zeros_like(mask)
        for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
            if y0 != y1:
                crosses = (y0 <= y) != (y1 <= y)
                inside ^= crosses & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        mask |= inside
    return mask


def polygons_of(value: Any, extra: Mapping[str, Any]) -> list[list[list[float]]] | None:
    """A list of polygons, each a list of at least three [x, y] in 0–1; a text must be such JSON or "none"."""
    if isinstance(value, str):
        if value.strip().strip(".").lower() == "none":
            return []
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return None
    if not isinstance(value, list):
        return None
    for polygon in value:
        if not isinstance(polygon, list) or len(polygon) < 3 or not all(map(_is_point, polygon)):
            return None
    return value


def _is_point(point: Any) -> bool:
    return isinstance(point, list) and len(point) == 2 and all(isinstance(number, (int, float)) for number in point)


def _score(pairs: Pairs, settings: Settings) -> Scores:
    answers, targets = answers_and_targets(pairs, polygons_of)
    overlap = np.zeros((len(pairs), 2))
    for row, (answer, target) in enumerate(zip(answers, targets, strict=True)):
        if answer is not None:
            prediction, reference = rasterise(answer), rasterise(target)
            overlap[row] = dice(prediction, reference), mask_iou(prediction, reference)
    return Scores(
        {"dice": overlap[:, 0], "mask_iou": overlap[:, 1]},
        {"unparsed_answers": sum(answer is None for answer in answers)},
    )


MASKS = Metric(
    name="masks",
    columns=(Column("dice"), Column("mask_iou")),
    statistics=(
        Statistic("dice", "Dice", f"dice of {SIDE}x{SIDE} masks (both empty = 1), mean", "higher", ("dice",)),
        Statistic(
            "mask_iou", "Mask IoU", f"IoU of {SIDE}x{SIDE} masks (both empty = 1), mean", "higher", ("mask_iou",)
        ),
    ),
    score=_score,
)
