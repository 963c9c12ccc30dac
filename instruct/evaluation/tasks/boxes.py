"""Boxes: overlap of single boxes, matching of several, and overlap of what they cover together.

A box is (left, top, right, bottom) in any one unit. A box without area overlaps nothing. Nothing to find and
nothing found scores 1; nothing on one side alone scores 0; an answer that cannot be read scores 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from instruct.evaluation.metric import Column, Metric, Scores, Settings, Statistic, Values
from instruct.evaluation.pairs import Pairs
from instruct.evaluation.tasks.answers import answers_and_targets, json_of
from instruct.evaluation.tasks.matching import best_matching
from instruct.evaluation.tasks.places import asks_for, is_box, is_polygon, read_places

Boxes = NDArray[np.float64]
_MOST = 1000  # what the boxes cover together takes the square of their number
_HALF = 0.5 - 1e-9  # coordinates are divided before they are compared: an overlap of one half may round below it


class LabelledBoxes(NamedTuple):
    """Boxes of shape (n, 4) and one label each ("" where boxes have none)."""

    boxes: Boxes
    labels: tuple[str, ...]


def box_iou(a: Boxes, b: Boxes) -> Values:
    """Intersection over union of every box of ``a`` with every box of ``b``: shape (len(a), len(b)), in [0, 1]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared: Values = np.clip(high - low, 0, None).prod(axis=2)
    union = _area(a)[:, None] + _area(b)[None, :] - shared
    overlap: Values = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def union_iou(a: Boxes, b: Boxes) -> float:
    """Intersection over union of the two covered regions, exact; 1 where both are empty."""
    xs = np.unique(np.concatenate([a[:, [0, 2]].ravel(), b[:, [0, 2]].ravel()]))
    ys = np.unique(np.concatenate([a[:, [1, 3]].ravel(), b[:, [1, 3]].ravel()]))
    cells = np.outer(np.diff(ys), np.diff(xs))
    in_a, in_b = _cover(a, xs, ys), _cover(b, xs, ys)
    union = float(cells[in_a | in_b].sum())
    if union == 0:
        return 1.0 if not len(a) and not len(b) else 0.0
    return float(cells[in_a & in_b].sum()) / union


def boxes_of(value: Any, extra: Mapping[str, Any]) -> LabelledBoxes | None:
    """Boxes as lists of four numbers, or objects ``{"box": [...], "label": …}``.

    An object with a ``polygon`` is the box around it. A text is read in the row's ``dialect``; without one it must be
    such JSON. "none" and an empty list are no boxes; more than 1,000 are no answer. A box with crossed corners is kept
    and overlaps nothing.
    """
    if isinstance(value, str) and extra.get("dialect"):
        value = read_places(value, extra, "box")
    if isinstance(value, str):
        if re.fullmatch(r"\s*(none|no finding|not present|\[\s*\])\.?\s*", value, re.IGNORECASE):
            return LabelledBoxes(np.zeros((0, 4)), ())
        value = json_of(value)
    if is_box(value):
        value = [value]
    if not isinstance(value, (list, tuple)) or len(value) > _MOST:
        return None
    boxes, labels = [], []
    for item in value:
        box, label = (_of_object(item), str(item.get("label", ""))) if isinstance(item, dict) else (item, "")
        if not is_box(box):
            return None
        boxes.append([float(number) for number in box])
        labels.append(label.strip().lower())
    return LabelledBoxes(np.array(boxes, dtype=np.float64).reshape(-1, 4), tuple(labels))


def score_boxes(answer: LabelledBoxes | None, target: LabelledBoxes) -> dict[str, float]:
    """All box scores of one example; boxes with different labels do not overlap, unless no true box has a label.

    Returns:
        ``box_best_iou``: mean over the true boxes of their best overlap (the IoU of single boxes).
        ``box_acc50``: share of the true boxes whose best overlap is at least 0.5.
        ``box_matched_iou``: total overlap of the best one-to-one matching over the larger number of boxes.
        ``box_union_iou``: overlap of the covered regions (labels ignored).
        ``box_hits50``, ``box_given``, ``box_true``: matched pairs with overlap ≥ 0.5, boxes given, true boxes.
    """
    given, true = (0 if answer is None else len(answer.boxes)), len(target.boxes)
    scores = dict.fromkeys(("box_best_iou", "box_acc50", "box_matched_iou", "box_union_iou", "box_hits50"), 0.0)
    scores |= {"box_given": float(given), "box_true": float(true)}
    if answer is not None and not given and not true:
        scores |= dict.fromkeys(("box_best_iou", "box_acc50", "box_matched_iou", "box_union_iou"), 1.0)
    elif answer is not None and given and true:
        named = any(target.labels)
        same = np.array([[not named or one == other for other in target.labels] for one in answer.labels])
        overlap = box_iou(answer.boxes, target.boxes) * same
        best = overlap.max(axis=0)
        rows, columns = best_matching(overlap)
        matched = overlap[rows, columns]
        scores |= {
            "box_best_iou": float(best.mean()),
            "box_acc50": float((best >= _HALF).mean()),
            "box_matched_iou": float(matched.sum()) / max(given, true),
            "box_union_iou": union_iou(answer.boxes, target.boxes),
            "box_hits50": float((matched >= _HALF).sum()),
        }
    return scores


def detection_f1(hits: Values, given: Values, true: Values) -> float:
    """F1 of boxes over the whole set: 2·hits / (given + true); 1 where there are no boxes at all."""
    total = given.sum() + true.sum()
    return float(2 * hits.sum() / total) if total else 1.0


def _area(boxes: Boxes) -> Values:
    area: Values = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1)
    return area


def _cover(boxes: Boxes, xs: Values, ys: Values) -> NDArray[np.bool_]:
    cells = np.zeros((max(0, len(ys) - 1), max(0, len(xs) - 1)), dtype=np.bool_)
    for left, top, right, bottom in boxes:
        columns = slice(*np.searchsorted(xs, (left, right)))
        cells[slice(*np.searchsorted(ys, (top, bottom))), columns] = True
    return cells


def _of_object(item: Mapping[str, Any]) -> Any:
    if "polygon" not in item:
        return item.get("box")
    if not is_polygon(item["polygon"]):
        return None
    corners = np.array(item["polygon"], dtype=np.float64)
    return [*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()]


def _score(pairs: Pairs, settings: Settings) -> Scores:
    answers, targets = answers_and_targets(pairs, boxes_of)
    rows = [score_boxes(answer, target) for answer, target in zip(answers, targets, strict=True)]
    columns = {column.name: np.array([row[column.name] for row in rows]) for column in BOXES.columns}
    other = [not asks_for(extra, "box") for extra in pairs.extras]
    for values in columns.values():
        values[other] = np.nan
    return Scores(columns, {"unparsed_answers": sum(answer is None for answer in answers)})


BOXES = Metric(
    name="boxes",
    columns=(
        *(Column(name) for name in ("box_best_iou", "box_acc50", "box_matched_iou", "box_union_iou")),
        *(Column(name, high=1e6) for name in ("box_hits50", "box_given", "box_true")),
    ),
    statistics=(
        Statistic(
            "miou", "mIoU", "mean over examples of the mean best IoU of the true boxes", "higher", ("box_best_iou",)
        ),
        Statistic("acc50", "acc@0.5", "share of true boxes with best IoU >= 0.5, mean", "higher", ("box_acc50",)),
        Statistic(
            "matched_iou",
            "Matched IoU",
            "IoU sum of the best one-to-one matching / larger box count, mean",
            "higher",
            ("box_matched_iou",),
        ),
        Statistic("union_iou", "Union IoU", "IoU of the covered regions, mean", "higher", ("box_union_iou",)),
        Statistic(
            "detection_f1",
            "Detection F1@0.5",
            "F1 over all boxes, one-to-one matches with IoU >= 0.5",
            "higher",
            ("box_hits50", "box_given", "box_true"),
            detection_f1,
        ),
    ),
    score=_score,
)
