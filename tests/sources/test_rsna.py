import csv
import json

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from instruct.errors import DataError
from instruct.sources import get_source
from instruct.sources.rsna import split
from instruct.synth import rsna

SOURCE = get_source("rsna")
HEADER = "patientId,x,y,width,height,Target\n"


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())


def write(root, rows):
    (root / rsna.LABELS).write_text(HEADER + "".join(f"{row}\n" for row in rows))


@pytest.mark.parametrize("images", [1, 2, 7, 10, 20, 101, 26_684])
def test_split_is_the_published_procedure(images):
    every = np.arange(images)
    wanted = np.empty(images, object)
    if images > 3:
        train, rest = train_test_split(every, test_size=0.15 * 2, random_state=0)
        test, val = train_test_split(rest, test_size=0.5, random_state=0)
        wanted[train], wanted[val], wanted[test] = "train", "val", "test"
        assert split(images).to_pylist() == wanted.tolist()
    assert len(split(images)) == images


def test_sizes_of_the_published_split():
    names = split(26_684).to_pylist()
    assert [names.count(name) for name in ("train", "val", "test")] == [18_678, 4_003, 4_003]


def test_what_is_read_is_what_was_written(tmp_path):
    root = tmp_path / "rsna"
    planted = rsna.write(root, studies=80, images=False)
    tables = read(root)
    images, boxes = tables["images"].to_pylist(), tables["boxes"].to_pylist()
    with (root / rsna.LABELS).open() as file:
        rows = list(csv.DictReader(file))
    with (root / rsna.CLASSES).open() as file:
        kinds = {row["patientId"]: row["class"] for row in csv.DictReader(file)}
    nih = {entry["subset_img_id"]: entry["img_id"] for entry in json.loads((root / rsna.MAPPING).read_text())}
    assert [image["image_id"] for image in images] == sorted({row["patientId"] for row in rows})
    assert len(boxes) == planted.distractors["boxes"]
    assert [box["image_id"] for box in boxes] == [row["patientId"] for row in rows if row["Target"] == "1"]
    for image in images:
        name = image["image_id"]
        own = [line for line, row in enumerate(rows, 2) if row["patientId"] == name]
        assert image["origin"] == f"{rsna.LABELS}:{own[0]}"
        assert image["image"] == f"stage_2_train_images/{name}.dcm"
        assert image["pneumonia"] == (rows[own[0] - 2]["Target"] == "1")
        assert image["kind"] == kinds[name]
        assert image["nih_image"] == nih[name]
        assert (image["nih_study"], image["nih_patient"]) == (nih[name][:12], nih[name][:8])
    first = next(row for row in rows if row["Target"] == "1")
    x, y, width, height = (float(first[side]) for side in ("x", "y", "width", "height"))
    assert boxes[0]["box"] == [x / 1024, y / 1024, (x + width) / 1024, (y + height) / 1024]


def test_without_classes_and_mapping(tmp_path):
    write(tmp_path, ["b,,,,,0", "a,1,2,3,4,1", "a,5,6,7,1030,1"])
    tables = read(tmp_path)
    assert tables["images"].select(["image_id", "pneumonia", "kind", "nih_image", "nih_patient"]).to_pylist() == [
        {"image_id": "a", "pneumonia": True, "kind": None, "nih_image": None, "nih_patient": None},
        {"image_id": "b", "pneumonia": False, "kind": None, "nih_image": None, "nih_patient": None},
    ]
    assert tables["boxes"]["box"].to_pylist()[1] == [5 / 1024, 6 / 1024, 12 / 1024, 1.0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,,,,,2", "neither 0 nor 1"),
        ("a,,,,,", "neither 0 nor 1"),
        ("a,1,2,3,,1", "Target is 1 without a whole box"),
        ("a,1,2,3,4,0", "Target is 0 with a box"),
        ("a,1,2,0,4,1", "without width or height"),
        (",,,,,0", "no patientId"),
        ("a,left,2,3,4,1", "invalid value 'left'"),
    ],
)
def test_faulty_rows_are_named(tmp_path, row, message):
    write(tmp_path, ["z,,,,,0", row])
    with pytest.raises(DataError, match=rf"{rsna.LABELS}:3: .*{message}"):
        read(tmp_path)


def test_rows_of_an_image_must_agree(tmp_path):
    write(tmp_path, ["a,1,2,3,4,1", "b,,,,,0", "a,,,,,0"])
    with pytest.raises(DataError, match=r"labels.csv:2: the image has Target 1 in one row and 0 in another"):
        read(tmp_path)
    write(tmp_path, ["a,,,,,0"])
    (tmp_path / rsna.CLASSES).write_text("patientId,class\na,Normal\nb,Lung Opacity\na,Lung Opacity\n")
    with pytest.raises(DataError, match=r"class_info.csv:4: image a has another class"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"subset_img_id": "a"}]', "subset_img_id and img_id"),
        ('{"a": "00000001_000.png"}', "subset_img_id and img_id"),
        ('[{"subset_img_id": "a", "img_id": "1.png"}]', "img_id 1.png is no ChestX-ray14 file name"),
        ("[", "malformed JSON"),
    ],
)
def test_a_faulty_mapping_is_named(tmp_path, text, message):
    write(tmp_path, ["a,,,,,0"])
    (tmp_path / rsna.MAPPING).write_text(text)
    with pytest.raises(DataError, match=rf"mappings_2018.json.*{message}"):
        read(tmp_path)


def test_a_missing_table_says_where_it_comes_from(tmp_path):
    with pytest.raises(DataError, match=r"stage_2_train_labels.csv\. Join the Kaggle competition"):
        read(tmp_path)
