import csv
import json

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources import get_source
from instruct.synth import ms_cxr

SOURCE = get_source("ms_cxr")
FILE = "MS_CXR_Local_Alignment_v1.1.0.csv"


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["boxes"].to_pylist()


@pytest.fixture
def root(tmp_path):
    synth.write("ms_cxr", tmp_path / "ms_cxr", studies=30, images=False)
    return tmp_path / "ms_cxr"


def rewrite(path, change):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_row_is_a_box_with_the_keys_of_its_path(root):
    with (root / FILE).open(newline="") as file:
        written = list(csv.DictReader(file))
    boxes = read(root)
    assert len(boxes) == len(written)
    for number, (row, found) in enumerate(zip(written, boxes, strict=True), 1):
        assert row["path"] == f"files/{found['image']}"
        assert row["path"].split("/")[2:4] == [found["patient"], found["study"]]
        assert (row["label_text"], row["category_name"]) == (found["phrase"], found["category"])
        assert [float(row[name]) for name in "xywh"] == [found[name] for name in "xywh"]
        assert found["release_split"] == row["split"]
        assert found["origin"] == f"{FILE}:{number}"
        same = [box["number"] for box in boxes if (box["image"], box["phrase"]) == (found["image"], found["phrase"])]
        assert found["first_box"] == same[0]
    assert any(box["first_box"] < box["number"] for box in boxes)
    assert any('"' in row["label_text"] for row in written) or any("," in row["label_text"] for row in written)


def test_release_1_0_0_has_no_split(tmp_path, root):
    ms_cxr.write(tmp_path / "old", studies=30, images=False, release="1.0.0")
    old, new = read(tmp_path / "old"), read(root)
    assert {row["release_split"] for row in old} == {None}
    same = [name for name in old[0] if name not in ("release_split", "origin")]
    assert [[row[name] for name in same] for row in old] == [[row[name] for name in same] for row in new]


def test_the_newer_release_is_preferred_and_a_version_folder_is_found(tmp_path, root):
    (root / "MS_CXR_Local_Alignment_v1.0.0.csv").write_text("nothing")
    assert read(root)
    (root / FILE).rename(tmp_path / FILE)
    (tmp_path / "download" / "1.1.0").mkdir(parents=True)
    (tmp_path / FILE).rename(tmp_path / "download" / "1.1.0" / FILE)
    assert read(tmp_path / "download")


def test_the_coco_file_alone_gives_the_same_boxes(root):
    before = read(root)
    (root / FILE).unlink()
    found = read(root)
    assert found[2]["origin"] == f"{FILE.removesuffix('csv')}json:3"
    # Which release the split is of, the COCO file does not say.
    changed = {"origin": None, "release_split": None}
    assert [row | changed for row in found] == [row | changed for row in before]


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("annotations", {"image_id": 0}, r"json: annotation 3 has image 0 and category \d; expected ids"),
        ("annotations", {"bbox": [1, 2, 3]}, r"json:1: .*annotations\[2\].bbox.*; expected COCO's images"),
        ("annotations", {"bbox": [1, 2, 0, 3]}, "json: annotation 3: w is 0.0; every box needs its w"),
        ("annotations", {"label_text": " "}, "json: annotation 3: label_text is None"),
        ("images", {"path": "a.jpg"}, r"json: annotation \d+: path 'a.jpg'; expected files/"),
        ("images", {"width": "wide"}, r"json:1: .*images\[2\].width"),
    ],
)
def test_a_faulty_coco_file_is_refused(root, part, change, message):
    (root / FILE).unlink()
    path = root / FILE.replace("csv", "json")
    content = json.loads(path.read_text())
    content[part][2].update(change)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read(root)


def test_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"MS_CXR_Local_Alignment_v1.1.0.csv or .*PhysioNet"):
        SOURCE.find(tmp_path)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("w", "0", r"csv:4: w is 0.0; every box needs its w"),
        ("image_height", "", "csv:4: image_height is None"),
        ("label_text", " ", "csv:4: label_text is None"),
        ("path", "p10/a.jpg", r"csv:4: path 'p10/a.jpg'; expected files/"),
        ("x", "left", "left"),
    ],
)
def test_a_faulty_cell_is_refused(root, column, value, message):
    rewrite(root / FILE, lambda rows: rows[2].update({column: value}))
    with pytest.raises(DataError, match=message):
        read(root)


def test_a_missing_column_is_named(root):
    rewrite(root / FILE, lambda rows: [row.pop("label_text") for row in rows])
    with pytest.raises(DataError, match="no column label_text"):
        read(root)
