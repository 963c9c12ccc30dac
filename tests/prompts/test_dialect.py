import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from instruct.polygons import fill
from instruct.prompts.dialect import DIALECTS, NONE, TOLERANCE, read_boxes, read_points, read_polygons, region_filters
from instruct.regions import box_of_mask, encode_mask
from instruct.specs.recipe import Recipe
from tests.test_regions import masks

SIZE = (600, 800)
# How far a coordinate may move, as a share of its side of SIZE (height, width).
ERROR = {
    "thousand": (1 / 2000, 1 / 2000),
    "unit": (1 / 2000, 1 / 2000),
    "json": (1 / 2000, 1 / 2000),
    "pixels": (0.5 / 600, 0.5 / 800),
    "tags": (1 / 100, 1 / 100),
    "paligemma": (1 / 1024, 1 / 1024),
}
EVERY = pytest.mark.parametrize("dialect", DIALECTS)
FEW = settings(max_examples=30)  # of each dialect
SHARE = st.floats(0, 1)
LABELS = st.from_regex(r"[A-Za-z][A-Za-z/()' -]{0,20}[A-Za-z)]", fullmatch=True).map(
    lambda text: " ".join(text.split())
)


def region(box, label="", mask=None, size=SIZE):
    return {"image": 0, "label": label, "box": box, "mask": mask, "size": list(size) if size else None}


def boxes(corners=SHARE):
    ordered = st.tuples(corners, corners).map(sorted)
    return st.tuples(ordered, ordered).map(lambda sides: [sides[0][0], sides[1][0], sides[0][1], sides[1][1]])


def regions(**settings):
    return st.lists(st.builds(region, boxes(), LABELS, **settings), min_size=1, max_size=4)


def moved(dialect, one, other):
    """Whether two points are as near as the dialect promises."""
    down, across = ERROR[dialect]
    return abs(one[0] - other[0]) <= across + 1e-9 and abs(one[1] - other[1]) <= down + 1e-9


def test_the_recipe_knows_every_dialect():
    assert set(Recipe.model_fields["dialect"].annotation.__args__) == set(DIALECTS) == set(ERROR)


@EVERY
@FEW
@given(held=regions(), labels=st.booleans())
def test_boxes_are_read_as_they_were_printed(dialect, held, labels):
    text = region_filters(dialect)["boxes"](held, labels=labels)
    found = read_boxes(text, dialect, SIZE)
    if dialect == "tags":
        held = sorted(held, key=lambda one: one["box"][:2])
    assert [one.label for one in found] == [one["label"] if labels else "" for one in held]
    for one, other in zip(found, held, strict=True):
        assert moved(dialect, one.box[:2], other["box"][:2]) and moved(dialect, one.box[2:], other["box"][2:])


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "json"])
@FEW
@given(held=regions())
def test_boxes_are_read_among_other_words(dialect, held):
    printed = region_filters(dialect)["boxes"](held)
    found = read_boxes(f"I see this: {printed}. That is all.", dialect, SIZE)
    assert len(found) == len(held)


@EVERY
@FEW
@given(held=regions())
def test_printing_what_was_read_changes_nothing(dialect, held):
    write = region_filters(dialect)["boxes"]
    for one in held:
        text = write(one)
        (found,) = read_boxes(text, dialect, SIZE)
        assert write(region(list(found.box))) == text


@EVERY
@FEW
@given(held=regions(), labels=st.booleans())
def test_points_of_boxes_are_their_middles(dialect, held, labels):
    text = region_filters(dialect)["points"](held, labels=labels)
    found = read_points(text, dialect, SIZE)
    assert [one.label for one in found] == [one["label"] if labels else "" for one in held]
    for one, (x1, y1, x2, y2) in zip(found, (held_one["box"] for held_one in held), strict=True):
        assert moved(dialect, one.points[0], ((x1 + x2) / 2, (y1 + y2) / 2))


@EVERY
@FEW
@given(mask=masks(40))
def test_points_of_masks_lie_near_their_middle(dialect, mask):
    assume(mask.any())
    height, width = mask.shape
    held = region(list(box_of_mask(mask)), "air", encode_mask(mask), mask.shape)
    (found,) = read_points(region_filters(dialect)["points"](held), dialect, mask.shape)
    # A pixel's width at most from a pixel of the mask, and what the dialect rounds.
    x, y = found.points[0][0] * width - 0.5, found.points[0][1] * height - 0.5
    near = min(max(abs(x - column), abs(y - row)) for row, column in np.argwhere(mask))
    rounding = 0.5 if dialect == "pixels" else max(ERROR[dialect]) * max(mask.shape)
    assert near <= rounding + 1e-9


@EVERY
@FEW
@given(mask=masks(40), tolerance=st.sampled_from([None, 0.0, 0.05]), labels=st.booleans())
def test_masks_come_back_as_near_as_stated(dialect, mask, tolerance, labels):
    settings = {} if tolerance is None else {"tolerance": tolerance}
    held = region(list(box_of_mask(mask)), "air", encode_mask(mask), mask.shape)
    text = region_filters(dialect)["polygons"](held, labels=labels, **settings)
    if not mask.any():
        assert text == NONE
        return
    found = read_polygons(text, dialect, mask.shape)
    assert len(found) == ndimage.label(mask)[1]
    assert {one.label for one in found} == {"air" if labels else ""}
    changed = fill([one.points for one in found], *mask.shape) != mask
    padded = np.pad(mask, 1)
    inside, outside = ndimage.distance_transform_edt(padded), ndimage.distance_transform_edt(~padded)
    to_edge = (np.maximum(inside, outside) - 1)[1:-1, 1:-1][changed].max(initial=0)
    away = (TOLERANCE if tolerance is None else tolerance) * max(mask.shape)
    # The corner of a pixel-sized error; pixels have an error of half a pixel whatever the size.
    step = np.hypot(0.5, 0.5) if dialect == "pixels" else np.hypot(*(np.array(ERROR[dialect]) * mask.shape))
    assert to_edge <= max(2 * away, away + step) + 1e-9


@EVERY
def test_a_mask_of_full_size_keeps_its_shape(dialect):
    rows, columns = np.mgrid[:1024, :1024]
    crescent = ((columns - 300) / 90) ** 2 + ((rows - 400) / 260) ** 2 < 1
    crescent &= ((columns - 330) / 90) ** 2 + ((rows - 430) / 260) ** 2 >= 1
    held = region(list(box_of_mask(crescent)), "", encode_mask(crescent), crescent.shape)
    text = region_filters(dialect)["polygons"]([held, held])
    found = fill([one.points for one in read_polygons(text, dialect, (1024, 1024))], 1024, 1024)
    overlap = (found & crescent).sum() / (found | crescent).sum()
    assert overlap > (0.8 if dialect == "tags" else 0.93)
    assert len(text) < 3000


@EVERY
@FEW
@given(held=regions())
def test_a_region_without_mask_is_the_polygon_of_its_box(dialect, held):
    found = read_polygons(region_filters(dialect)["polygons"](held), dialect, SIZE)
    for one, other in zip(found, held, strict=True):
        x1, y1, x2, y2 = other["box"]
        corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]
        for point in one.points:
            assert any(moved(dialect, point, corner) for corner in corners)


@EVERY
@pytest.mark.parametrize("form", ["boxes", "points", "polygons"])
def test_no_region_prints_as_none_and_is_read_as_none(dialect, form):
    text = region_filters(dialect)[form]([])
    assert text == NONE
    read = {"boxes": read_boxes, "points": read_points, "polygons": read_polygons}[form]
    for said in (text, "None.", "No pneumothorax.", "[]", "Not seen.", "nothing"):
        assert read(said, dialect, SIZE) == []
    for said in ("", "I cannot tell", "nodule", "Notice the nodule", "[1, 2", "(5,6)"):
        assert read(said, dialect, SIZE) is None


@pytest.mark.parametrize(
    ("dialect", "form", "text"),
    [
        ("thousand", "boxes", "big nodule [102, 200, 504, 750]"),
        ("thousand", "points", "big nodule [303, 475]"),
        ("thousand", "polygons", "big nodule [[102, 200], [504, 200], [504, 750], [102, 750]]"),
        ("unit", "boxes", "big nodule [0.102, 0.200, 0.504, 0.750]"),
        ("pixels", "boxes", "big nodule [82, 120, 403, 450]"),
        ("pixels", "points", "big nodule [242, 285]"),
        ("json", "boxes", '[{"bbox_2d": [102, 200, 504, 750], "label": "big nodule"}]'),
        ("json", "points", '[{"point_2d": [303, 475], "label": "big nodule"}]'),
        (
            "json",
            "polygons",
            '[{"polygon_2d": [[102, 200], [504, 200], [504, 750], [102, 750]], "label": "big nodule"}]',
        ),
        ("tags", "boxes", "<|ref|>big nodule<|/ref|><|box|>(10,20),(50,75)<|/box|>"),
        ("tags", "points", "<|ref|>big nodule<|/ref|><|point|>(30,48)<|/point|>"),
        ("tags", "polygons", "<|ref|>big nodule<|/ref|><|poly|>(10,20),(50,20),(50,75),(10,75)<|/poly|>"),
        ("paligemma", "boxes", "<loc0205><loc0104><loc0768><loc0516> big nodule"),
        ("paligemma", "points", "<loc0486><loc0310> big nodule"),
    ],
)
def test_what_is_printed(dialect, form, text):
    held = region([0.102, 0.2, 0.504, 0.75], "big nodule")
    assert region_filters(dialect)[form](held, labels=True) == text


def test_tags_follow_the_published_quantisation():
    # int(x * 1000), then hundredths; the last thousandth is cut.
    held = [region([0.5599, 0.1, 1.0, 0.9999]), region([0.0, 0.0, 0.005, 0.0051])]
    text = region_filters("tags")["boxes"](held)
    assert text == "<|box|>(0,0),(0,0)<|/box|> <|box|>(56,10),(100,100)<|/box|>"


@pytest.mark.parametrize(
    ("dialect", "text"),
    [
        ("thousand", "[500, 200, 400, 750]"),
        ("thousand", "[500, 200, 1400, 750]"),
        ("thousand", "[-1, 200, 400, 750]"),
        ("thousand", "[1.2.3, 200, 400, 750]"),
        ("unit", "[0.1, 0.2, 0.3]"),
        ("json", '[{"bbox_2d": [1, 2, 3]}]'),
        ("json", '[{"bbox_2d": ["1", 2, 3, 4]}]'),
        ("json", '[{"bbox_2d": {"x": 1}}]'),
        ("json", '[{"bbox_2d": [NaN, 2, 3, 4]}]'),
        ("json", '{"bbox_2d": '),
        ("tags", "<|box|>(10,20)<|/box|>"),
        ("tags", "<|box|>(10,20),(101,75)<|/box|>"),
        ("paligemma", "<loc0205><loc0104><loc0768>"),
        ("paligemma", "<loc0768><loc0104><loc0205><loc0516>"),
    ],
)
def test_a_text_without_a_proper_box_is_not_read(dialect, text):
    assert read_boxes(text, dialect, SIZE) is None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ('{"bbox_2d": [1, 2, 3, 4]}', 1),
        ('```json\n[{"bbox_2d": [1, 2, 3, 4]}, {"bbox_2d": [5, 6, 7, 8], "label": "x"}]\n```', 2),
        ('Here: [{"bbox_2d": [1, 2, 3, 4]}] and some [words].', 1),
        ('[{"bbox_2d": [1, 2, 3, 4]}, {"other": 1}, 7]', 1),
    ],
)
def test_json_in_other_words(text, number):
    assert len(read_boxes(text, "json")) == number


def test_polygons_need_three_corners_in_the_image():
    assert read_polygons("[[1, 2], [3, 4]]", "thousand") is None
    assert read_polygons("[[1, 2], [3, 4], [5, 1006]]", "thousand") is None
    assert read_polygons('[{"polygon_2d": [[1, 2], [3, 4, 5], [6, 7]]}]', "json") is None
    assert len(read_polygons("[[1, 2], [3, 4], [5, 6]] and [[7, 8], [9, 9], [1, 1]]", "thousand")) == 2


def test_pixels_need_the_size_of_the_image():
    with pytest.raises(ValueError, match="needs the size"):
        region_filters("pixels")["boxes"](region([0, 0, 1, 1], size=None))
    with pytest.raises(ValueError, match="needs the size"):
        read_boxes("[1, 2, 3, 4]", "pixels")


@EVERY
def test_a_region_without_box_says_why(dialect):
    for form in ("boxes", "points", "polygons"):
        with pytest.raises(ValueError, match=r"'nodule' has no box: the size of its image is not known"):
            region_filters(dialect)[form](region(None, "nodule", size=None))
        with pytest.raises(ValueError, match=r"'nodule' has no box: what was drawn has no area within its image"):
            region_filters(dialect)[form](region(None, "nodule", size=(40, 60)))
