import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco
from scipy.optimize import linear_sum_assignment

from instruct.evaluation import evaluate, make_pairs
from instruct.evaluation.tasks.boxes import box_iou, boxes_of, score_boxes, union_iou
from instruct.evaluation.tasks.matching import best_matching

CORNERS = st.tuples(*[st.integers(0, 12)] * 4).map(
    lambda b: [min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])]
)
BOXES = st.lists(CORNERS, max_size=4).map(lambda rows: np.array(rows, dtype=float).reshape(-1, 4))


def painted(boxes):
    grid = np.zeros((12, 12), dtype=bool)
    for left, top, right, bottom in boxes.astype(int):
        grid[top:bottom, left:right] = True
    return grid


def test_iou_by_hand():
    values = box_iou(np.array([[0, 0, 2, 2.0]]), np.array([[0, 0, 2, 2], [1, 0, 3, 2], [5, 5, 6, 6], [1, 1, 1, 2.0]]))
    assert values.tolist() == [[1, pytest.approx(1 / 3), 0, 0]]


@given(BOXES, BOXES)
def test_overlaps_agree_with_painted_cells(a, b):
    values = box_iou(a, b)
    for row, one in enumerate(a):
        for column, other in enumerate(b):
            x, y = painted(one[None]), painted(other[None])
            union = (x | y).sum()
            assert values[row, column] == pytest.approx((x & y).sum() / union if union else 0)
    x, y = painted(a), painted(b)
    if (x | y).any():
        assert union_iou(a, b) == pytest.approx((x & y).sum() / (x | y).sum())


@given(BOXES.filter(len), BOXES.filter(len))
def test_overlaps_agree_with_pycocotools(a, b):
    theirs = coco.iou(*(np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]) for boxes in (a, b)), [0] * len(b))
    assert box_iou(a, b) == pytest.approx(np.nan_to_num(theirs))  # 0 / 0 of boxes without area


@given(st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(lambda s: arrays(float, s, elements=st.floats(0, 1))))
def test_matching_is_optimal(values):
    rows, columns = best_matching(values)
    assert len(rows) == min(values.shape)
    assert len(set(rows)) == len(rows)
    assert len(set(columns)) == len(columns)
    best = linear_sum_assignment(values, maximize=True)
    assert values[rows, columns].sum() == pytest.approx(values[best].sum())


def test_single_box_scores_are_its_iou():
    score = score_boxes(boxes_of([0, 0, 10, 10], {}), boxes_of([0, 0, 10, 8], {}))
    assert score["box_best_iou"] == score["box_matched_iou"] == score["box_union_iou"] == pytest.approx(0.8)
    assert score["box_acc50"] == 1


def test_several_boxes_punish_the_surplus_and_match_one_to_one():
    target = boxes_of([[0, 0, 2, 2], [4, 4, 6, 6]], {})
    twice = score_boxes(boxes_of([[0, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]], {}), target)
    assert twice["box_best_iou"] == 0.5
    assert twice["box_matched_iou"] == pytest.approx(1 / 3)
    assert (twice["box_hits50"], twice["box_given"], twice["box_true"]) == (1, 3, 2)


def test_labelled_boxes_match_within_their_label():
    target = boxes_of([{"box": [0, 0, 2, 2], "label": "Nodule"}], {})
    assert score_boxes(boxes_of([{"box": [0, 0, 2, 2], "label": "nodule"}], {}), target)["box_best_iou"] == 1
    other = score_boxes(boxes_of([{"box": [0, 0, 2, 2], "label": "mass"}], {}), target)
    assert (other["box_best_iou"], other["box_matched_iou"], other["box_hits50"], other["box_union_iou"]) == (
        0,
        0,
        0,
        1,
    )


@pytest.mark.parametrize(
    "text", ["somewhere left", "[1, 2, 3]", '[[0, 0, 1, "x"]]', '{"a": 1}', "[null]", "[1e999,0,1,1]"]
)
def test_unreadable_boxes(text):
    assert boxes_of(text, {}) is None


def test_set_of_examples_with_nothing_unread_and_crossed_corners():
    said = ["none", "[[0,0,4,4]]", "over there", "[4,4,0,0]", "[0,0,4,2]"]
    true = ["none", "none", "[[0,0,4,4]]", "[[0,0,4,4]]", "[[0,0,4,4]]"]
    report = evaluate(make_pairs(list("abcde"), said, true), metrics="boxes")
    assert report.result("miou").value == pytest.approx((1 + 0 + 0 + 0 + 0.5) / 5)
    assert report.result("acc50").value == pytest.approx(2 / 5)
    assert report.result("detection_f1").value == pytest.approx(2 * 1 / (3 + 3))
    assert report.parts[0].counts["unparsed_answers"] == 1
    assert all(result.n_scored == 5 for result in report.parts[0].results.values())
    report = evaluate(make_pairs(["a", "b"], ["none", "[]"], ["none", "none"]), metrics="boxes")
    assert {result.value for result in report.parts[0].results.values()} == {1}


def test_an_overlap_of_exactly_a_half_counts_in_any_unit():
    """A box and its half, in pixels divided to 0–1: rounding may not put the half below 0.5."""
    for side in range(1, 200):
        whole, half = np.array([[0.1, 0.1, 0.1 + 2 * side, 1.1]]), np.array([[0.1, 0.1, 0.1 + side, 1.1]])
        score = score_boxes(boxes_of((half / 997).tolist(), {}), boxes_of((whole / 997).tolist(), {}))
        assert (score["box_acc50"], score["box_hits50"]) == (1, 1), side
    below = score_boxes(boxes_of([0, 0, 499, 1], {}), boxes_of([0, 0, 1000, 1], {}))
    assert (below["box_acc50"], below["box_hits50"]) == (0, 0)


def test_an_answer_of_boxes_without_end_cannot_be_read():
    """Each of 8,000 boxes had cost a row and a column of a grid of 2 GB."""
    random = np.random.default_rng(0)
    corners = np.sort(random.random((8000, 2, 2)), axis=1).reshape(-1, 4).tolist()
    assert boxes_of(corners, {}) is None
    assert len(boxes_of(corners[:1000], {}).boxes) == 1000
    pairs = make_pairs(["a"], [str(corners)], ["[[0, 0, 1, 1]]"])
    report = evaluate(pairs, metrics="boxes")
    assert report.result("union_iou").value == 0
    assert report.parts[0].counts["unparsed_answers"] == 1
