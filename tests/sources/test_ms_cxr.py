import csv

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
