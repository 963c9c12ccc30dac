import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco
from sklearn.metrics import f1_score, jaccard_score

from instruct.errors import DataError
from instruct.evaluation import evaluate, make_pairs
from instruct.evaluation.tasks.masks import area_of, dice, mask_iou
from instruct.polygons import fill
from instruct.regions import encode_mask

HALF = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]


@given(st.tuples(*[arrays(bool, (4, 5))] * 2))
def test_dice_and_iou_agree_with_scikit_learn(masks):
    a, b = masks
    if (a | b).any():
        assert dice(a, b) == pytest.approx(f1_score(b.ravel(), a.ravel(), zero_division=0))
        assert mask_iou(a, b) == pytest.approx(jaccard_score(b.ravel(), a.ravel(), zero_division=0))
        packed = [coco.encode(np.asfortranarray(mask, np.uint8)) for mask in (a, b)]
        assert mask_iou(a, b) == pytest.approx(coco.iou(packed[:1], packed[1:], [0])[0, 0])
    else:
        assert dice(a, b) == mask_iou(a, b) == 1


def test_fill_counts_pixel_centres():
    assert fill([HALF], 4, 4).tolist() == [[True, True, False, False]] * 4
    triangle = fill([[[0, 0], [1, 0], [0, 1]]], 200, 200)
    assert triangle.mean() == pytest.approx(0.5, abs=0.01)
    ring = [
        [0, 0],
        [1, 0],
        [1, 1],
        [0, 1],
        [0, 0],
        [0.25, 0.25],
        [0.25, 0.75],
        [0.75, 0.75],
        [0.75, 0.25],
        [0.25, 0.25],
    ]
    assert fill([ring], 8, 8).sum() == 64 - 16
    assert fill([HALF, HALF], 4, 4).sum() == 8
    assert not fill([], 4, 4).any()


@pytest.mark.parametrize("value", ["left lung", "[[[0,0],[1,1]]]", "[[[0,0],[1,1],[2]]]", "3", [["x", "y", "z"]]])
def test_unreadable_areas(value):
    assert area_of(value, {}) is None


def test_masks_of_examples():
    extras = [{"target": [HALF], "answer": answer} for answer in ([HALF], [], None)]
    extras.append({"target": [], "answer": []})
    pairs = make_pairs(list("abcd"), ["", "", "", ""], [None] * 4, extras)
    report = evaluate(pairs, metrics="masks")
    assert report.result("dice").value == 0.5
    assert report.result("mask_iou").value == 0.5
    assert report.parts[0].counts["unparsed_answers"] == 1
    assert np.isfinite(report.parts[0].columns["dice"]).all()


def test_true_masks_are_met_at_their_own_size_by_polygons_or_boxes():
    mask = np.zeros((40, 60), bool)
    mask[10:20, 30:60] = True
    other = np.zeros((40, 60), bool)
    other[30:, :6] = True
    target = [{"mask": encode_mask(one), "size": [40, 60]} for one in (mask, other)]
    extras = [{"task": "Pneumothorax Segmentation", "dialect": "unit", "target": target}] * 3
    answers = ["[[0.5, 0.25], [1, 0.25], [1, 0.5], [0.5, 0.5]] [[0, 0.75], [0.1, 0.75], [0.1, 1], [0, 1]]"]
    answers += ["[0.5, 0.25, 1, 0.5] [0, 0.75, 0.1, 1]", "[[0.5, 0.25], [1, 0.25], [1, 0.5], [0.5, 0.5]]"]
    pairs = make_pairs(list("abc"), answers, [None] * 3, extras)
    part = evaluate(pairs, metrics="masks", resamples=1).parts[0]
    assert part.columns["dice"].tolist() == [1, 1, pytest.approx(600 / 660)]


def test_an_answer_that_is_a_mask():
    mask = np.zeros((40, 60), bool)
    mask[:, :30] = True
    answer = [{"mask": encode_mask(mask), "size": [40, 60]}]
    other = [{"mask": encode_mask(mask[:, :50]), "size": [40, 50]}]
    extras = [
        {"target": [HALF], "answer": answer},
        {"target": answer, "answer": answer},
        {"target": answer, "answer": other},  # no common size: not comparable, so not read
        {"target": answer, "answer": [{"mask": "zz", "size": [40, 60]}]},
        {"target": answer, "answer": [{"mask": encode_mask(mask), "size": [400_000, 600_000]}]},
    ]
    part = evaluate(make_pairs(list("abcde"), [""] * 5, [None] * 5, extras), metrics="masks", resamples=1).parts[0]
    assert part.columns["dice"].tolist() == [1, 1, 0, 0, 0]
    assert part.counts["unparsed_answers"] == 3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dialect": "klingon"}, "example 'a': dialect is 'klingon'; expected one of"),
        ({"dialect": "pixels"}, "example 'a': size is None; the dialect 'pixels' needs the image's height and width"),
        ({"dialect": "pixels", "size": [0, 9]}, r"size is \[0, 9\]"),
        ({"dialect": "pixels", "size": "9x9"}, "size is '9x9'"),
    ],
)
def test_a_dialect_that_cannot_be_read(fields, message):
    pairs = make_pairs(["a"], ["[1, 2, 3, 4]"], [None], [{"target": [HALF], **fields}])
    with pytest.raises(DataError, match=message):
        evaluate(pairs, metrics="masks")
