import csv

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from instruct.errors import DataError
from instruct.sources import get_source
from instruct.sources.dicom import image_size
from instruct.sources.vindr_boxes import merge_boxes
from instruct.synth import vindr_cxr, vindr_pcxr, write

SIDES = ["x_min", "y_min", "x_max", "y_max"]
HEADER = "image_id,rad_id,class_name,x_min,y_min,x_max,y_max\n"
EMPTY_TEST = "image_id,class_name,x_min,y_min,x_max,y_max\nt,No finding,,,,\n"


def read(source, root):
    reader = get_source(source)
    return reader.tables_of(reader.find(root), reader.options())


def lay_out(root, *rows, test=EMPTY_TEST):
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "annotations_train.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    if test is not None:
        (root / "annotations" / "annotations_test.csv").write_text(test)
    return root


def overlap(one, other):
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(wide, 0) * max(high, 0)
    total = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - shared
    return shared / total if total else 0


def plainly_merged(boxes):
    """The published rule: the first box takes in every later one that overlaps it, and becomes the box around them."""
    merged = []
    left = list(boxes)
    while left:
        first = left.pop(0)
        taken = [box for box in left if overlap(first, box) > 0.1]
        left = [box for box in left if box not in taken]
        group = [first, *taken]
        merged.append((*(min(box[side] for box in group) for side in (0, 1)),
                       *(max(box[side] for box in group) for side in (2, 3))))  # fmt: skip
    return merged


CORNERS = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 8)] * 2)


@given(st.lists(st.tuples(st.integers(0, 2), CORNERS), max_size=14, unique=True))
def test_merging_is_the_published_greedy_pass(drawn):
    boxes = np.array([[x, y, x + w, y + h] for _, (x, y, w, h) in drawn], float).reshape(-1, 4)
    group = np.array([number for number, _ in drawn], np.int64)
    merged = merge_boxes(boxes, group)
    found = {}
    for first, number, corners in zip(merged.first, merged.number, merged.corners.tolist(), strict=True):
        found.setdefault(int(group[first]), []).append(tuple(corners))
        assert number == len(found[int(group[first])])
    wanted = {number: plainly_merged([tuple(box) for box in boxes[group == number].tolist()]) for number in set(group)}
    assert found == {int(number): boxes for number, boxes in wanted.items()}
    assert merged.boxes.sum() == len(boxes)


def test_the_order_decides():
    a, b, c = [0, 0, 10, 10], [6, 0, 16, 10], [12, 0, 22, 10]
    nothing = np.zeros(3, np.int64)
    assert merge_boxes(np.array([a, b, c], float), nothing).corners.tolist() == [[0, 0, 16, 10], [12, 0, 22, 10]]
    assert merge_boxes(np.array([b, a, c], float), nothing).corners.tolist() == [[0, 0, 22, 10]]


@pytest.mark.parametrize("source", ["vindr_cxr", "vindr_pcxr"])
def test_what_is_read_is_what_was_written(tmp_path, source):
    write(source, tmp_path, studies=60)
    folder = tmp_path / "annotations" if source == "vindr_cxr" else tmp_path
    tables = read(source, tmp_path)
    rows = []
    for split in ("train", "test"):
        with (folder / f"annotations_{split}.csv").open() as file:
            rows += [(split, line, row) for line, row in enumerate(csv.DictReader(file), 2)]
    drawn = {}
    for annotation, (split, line, row) in zip(tables["annotations"].to_pylist(), rows, strict=True):
        prefix = "annotations/" if source == "vindr_cxr" else ""
        assert annotation["origin"] == f"{prefix}annotations_{split}.csv:{line}"
        assert (annotation["image_id"], annotation["split"]) == (row["image_id"], split)
        assert annotation["reader"] == row.get("rad_id", row.get("rad_ID"))
        if row["class_name"] == "No finding":
            assert annotation["label"] is annotation["box"] is None
            continue
        assert annotation["label"].casefold() == row["class_name"].casefold()
        assert annotation["box"] == [float(row[side]) for side in SIDES]
        drawn.setdefault((row["image_id"], annotation["label"]), []).append(tuple(annotation["box"]))
    images = {image["image_id"]: image for image in tables["images"].to_pylist()}
    assert list(images) == list(dict.fromkeys(row["image_id"] for _, _, row in rows))
    found = {}
    for box in tables["boxes"].to_pylist():
        found.setdefault((box["image_id"], box["label"]), []).append(tuple(box["pixels"]))
        assert box["number"] == len(found[box["image_id"], box["label"]])
        height, width = image_size(tmp_path / images[box["image_id"]]["image"])
        assert box["size"] == [height, width]
        assert (images[box["image_id"]]["height"], images[box["image_id"]]["width"]) == (height, width)
        shares = [value / side for value, side in zip(box["pixels"], (width, height) * 2, strict=True)]
        assert box["box"] == pytest.approx([min(max(value, 0), 1) for value in shares])
    assert found == {key: plainly_merged(boxes) for key, boxes in drawn.items()}


@pytest.mark.parametrize(("source", "module"), [("vindr_cxr", vindr_cxr), ("vindr_pcxr", vindr_pcxr)])
def test_image_level_labels(tmp_path, source, module):
    module.write(tmp_path, studies=40, images=False)
    tables = read(source, tmp_path)
    told = {}
    for row in tables["image_labels"].to_pylist():
        told.setdefault(row["image_id"], set()).update(row["labels"])
    assert set(told) == set(tables["images"]["image_id"].to_pylist())
    some = [name for name, labels in told.items() if labels - {"No finding"}]
    assert some and all(labels for labels in told.values())
    for path in tmp_path.rglob("image_labels_*.csv"):
        path.unlink()
    assert len(read(source, tmp_path)["image_labels"]) == 0


def test_classes_are_spelt_one_way(tmp_path):
    test = "image_id,class_name,x_min,y_min,x_max,y_max\nt,lung opacity,1,2,3,4\nt,Odd thing,1,2,3,4\n"
    tables = read("vindr_cxr", lay_out(tmp_path, "a,R1,Lung Opacity,1,2,3,4", "a,R2,odd Thing,5,6,7,8", test=test))
    assert tables["boxes"]["label"].to_pylist() == ["Lung Opacity", "odd Thing", "Lung Opacity", "odd Thing"]


def test_a_no_finding_beside_a_box_is_no_contradiction(tmp_path):
    tables = read("vindr_cxr", lay_out(tmp_path, "a,R9,Edema,1,2,3,4", "a,R10,Edema,1,2,3,5", "a,R8,No finding,,,,"))
    assert tables["boxes"].select(["label", "boxes", "pixels", "box", "size"]).to_pylist() == [
        {"label": "Edema", "boxes": 2, "pixels": [1, 2, 3, 5], "box": None, "size": None}
    ]
    assert tables["images"]["image"].to_pylist() == ["train/a.dicom", "test/t.dicom"]


def test_the_kaggle_edition_has_other_columns_and_no_test(tmp_path):
    (tmp_path / "train.csv").write_text(
        "image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n"
        "a,No finding,14,R1,,,,\nb,Cardiomegaly,3,R8,1.5,2,30,40\n"
    )
    tables = read("vindr_cxr", tmp_path)
    assert tables["images"]["split"].to_pylist() == ["train", "train"]
    assert tables["annotations"]["box"].to_pylist() == [None, [1.5, 2, 30, 40]]


CONVERTED = ("height,width", "dim0,dim1")


def picture(path, height=40, width=60):
    path.parent.mkdir(exist_ok=True)
    Image.new("L", (width, height)).save(path)


@pytest.mark.parametrize("name", ["train/a.png", "train/a.JPG", "train_png/a.png", "train_png_1024/a.jpeg"])
def test_converted_images_of_full_size(tmp_path, name):
    root = lay_out(tmp_path, "a,R1,Edema,15,10,30.5,20", "b,R1,No finding,,,,")
    picture(root / name)
    picture(root / "test" / "t.png")
    tables = read("vindr_cxr", root)
    assert tables["images"].select(["image", "height", "width"]).to_pylist() == [
        {"image": name, "height": 40, "width": 60},
        {"image": "train/b.dicom", "height": None, "width": None},
        {"image": "test/t.png", "height": None, "width": None},
    ]
    (box,) = tables["boxes"].to_pylist()
    assert box["box"] == pytest.approx([0.25, 0.25, 30.5 / 60, 0.5]) and box["size"] == [40, 60]


def test_no_area_no_box(tmp_path):
    root = lay_out(tmp_path, "a,R1,Edema,15,10,15,20", "a,R1,ILD,-9,10,0,20", "a,R1,Other lesion,-9,10,1,20")
    picture(root / "train" / "a.png")
    boxes = read("vindr_cxr", root)["boxes"]["box"].to_pylist()
    assert boxes[:2] == [None, None] and boxes[2] == pytest.approx([0, 0.25, 1 / 60, 0.5])


def test_the_dicom_file_is_preferred(tmp_path):
    vindr_cxr.write(tmp_path, studies=20)
    before = read("vindr_cxr", tmp_path)
    for path in list((tmp_path / "train").iterdir()):
        picture(tmp_path / "train" / f"{path.stem}.png", 7, 7)
    assert read("vindr_cxr", tmp_path)["boxes"].equals(before["boxes"])


@pytest.mark.parametrize("sides", CONVERTED)
def test_converted_images_of_a_smaller_size_need_a_table_of_sizes(tmp_path, sides):
    root = lay_out(tmp_path, "a,R1,No finding,,,,", "b,R1,Edema,150,100,305,200", "c,R1,Edema,150,100,305,200")
    picture(root / "train" / "b.png")
    message = r"annotations_train.csv:3: a box reaches to 305, 200, beyond train/b.png, .* 60 x 40 .* train_meta.csv"
    with pytest.raises(DataError, match=message):
        read("vindr_cxr", root)
    (root / "train_meta.csv").write_text(f"image_id,{sides}\nc,400,600\nb,400,600\n")
    tables = read("vindr_cxr", root)
    # Shares are of the image the box was drawn on; the size is that of the file shown.
    for box, size in zip(tables["boxes"].to_pylist(), ([40, 60], [400, 600]), strict=True):
        assert box["box"] == pytest.approx([0.25, 0.25, 305 / 600, 0.5]) and box["size"] == size
    (root / "train_meta.csv").write_text(f"image_id,{sides}\nb,40,60\n")
    with pytest.raises(DataError, match=r"annotations_train.csv:3: a box reaches"):
        read("vindr_cxr", root)
    (root / "train_meta.csv").write_text(f"image_id,{sides}\nb,40,60\nc,0,60\n")
    with pytest.raises(DataError, match=r"train_meta.csv:3: \w+ and \w+ must be whole numbers above 0"):
        read("vindr_cxr", root)


def test_labels_can_be_written_with_decimals(tmp_path):
    root = lay_out(tmp_path, "a,R1,No finding,,,,")
    (root / "annotations" / "image_labels_train.csv").write_text("image_id,rad_id,Edema,ILD\na,R1,1.0,0.0\n")
    assert read("vindr_cxr", root)["image_labels"]["labels"].to_pylist() == [["Edema"]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("b,R1,Edema,,,,", "a finding without a whole box"),
        ("b,R1,Edema,1,2,3,", "a finding without a whole box"),
        ("b,R1,No finding,1,2,3,4", "a box for 'No finding'"),
        ("b,R1,Edema,5,2,3,4", "maximum is below its minimum"),
        (",R1,Edema,1,2,3,4", "no image_id"),
        ("b,R1,,1,2,3,4", "no image_id or class_name"),
        ("b,R1,Edema,one,2,3,4", "invalid value 'one'"),
    ],
)
def test_faulty_rows_are_named(tmp_path, row, message):
    with pytest.raises(DataError, match=rf"annotations_train.csv:3: .*{message}"):
        read("vindr_cxr", lay_out(tmp_path, "a,R1,No finding,,,,", row))


def test_other_faults_are_named(tmp_path):
    root = lay_out(tmp_path, "a,R1,Edema,1,2,3,4", "t,R1,No finding,,,,")
    with pytest.raises(DataError, match=r"annotations_test.csv:2: image t is in the other split too"):
        read("vindr_cxr", root)
    lay_out(root, "a,R1,Edema,1,2,3,4")
    (root / "annotations" / "image_labels_train.csv").write_text("image_id,rad_id,Edema\na,R1,1\na,R2,2\n")
    with pytest.raises(DataError, match=r"image_labels_train.csv:3: labels must be 0 or 1"):
        read("vindr_cxr", root)
    (root / "annotations" / "image_labels_train.csv").unlink()
    (root / "train").mkdir()
    (root / "train" / "a.dicom").write_text("no image")
    with pytest.raises(DataError, match=r"train/a.dicom: not a DICOM file"):
        read("vindr_cxr", root)
    (root / "annotations" / "annotations_test.csv").unlink()
    with pytest.raises(DataError, match=r"annotations_test.csv not found .*credentialed access"):
        read("vindr_cxr", root)
    with pytest.raises(DataError, match=r"expected annotations_train.csv or annotations/annotations_train.csv"):
        read("vindr_pcxr", tmp_path / "train")
