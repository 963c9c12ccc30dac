import csv

import pytest
from PIL import Image

from instruct.errors import DataError
from instruct.sources import get_source
from instruct.synth import object_cxr

SOURCE = get_source("object_cxr")


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())


def write(root, *cells, header="image_name,annotation", size=(200, 100)):
    """Annotations of the images 00001.jpg, 00002.jpg ... of train; dev has one image."""
    lines = [header, *(f"{number:05d}.jpg,{cell}" for number, cell in enumerate(cells, 1))]
    (root / "train.csv").write_text("\n".join(lines) + "\n")
    (root / "dev.csv").write_text("image_name,annotation\n09001.jpg,\n")
    (root / "train").mkdir()
    for number in range(1, len(cells) + 1):
        Image.new("L", size).save(root / "train" / f"{number:05d}.jpg")
    return root


def test_what_is_read_is_what_was_written(tmp_path):
    planted = object_cxr.write(tmp_path, studies=60)
    tables = read(tmp_path)
    objects = {}
    for row in tables["objects"].to_pylist():
        objects.setdefault(row["image"], []).append(row)
    written = {}
    for folder in ("train", "dev"):
        with (tmp_path / f"{folder}.csv").open() as file:
            for line, row in enumerate(csv.DictReader(file), 2):
                written[f"{folder}/{row['image_name']}"] = (row["annotation"], f"{folder}.csv:{line}")
    images = tables["images"].to_pylist()
    assert [image["image"] for image in images] == list(written)
    assert len(tables["objects"]) == sum(
        count for name, count in planted.distractors.items() if name.startswith("objects_") and name[8:] in (
            "rectangle", "ellipse", "polygon"
        )
    )  # fmt: skip
    for image in images:
        cell, origin = written[image["image"]]
        assert image["origin"] == origin
        assert image["study"] == image["image"].removesuffix(".jpg")
        assert image["split"] == {"train": "train", "dev": "val"}[image["image"].split("/")[0]]
        held = objects.get(image["image"], [])
        parts = [part.split() for part in cell.split(";") if part.strip()]
        assert len(held) == len(parts)
        for number, (row, (kind, *numbers)) in enumerate(zip(held, parts, strict=True), 1):
            points = [int(value) for value in numbers]
            assert (row["number"], row["points"], row["origin"]) == (number, points, origin)
            assert row["shape"] == ("rectangle", "ellipse", "polygon")[int(kind)]
            with Image.open(tmp_path / image["image"]) as picture:
                width, height = picture.size
            assert row["size"] == [height, width] == [image["height"], image["width"]]
            x, y = points[::2], points[1::2]
            wanted = [min(x) / width, min(y) / height, max(x) / width, max(y) / height]
            assert row["box"] == [min(max(value, 0), 1) for value in wanted]
        if not held:
            assert image["width"] is None


def test_the_grammar_of_cells(tmp_path):
    tables = read(
        write(
            tmp_path,
            "0 812 233 866 301;1 1200 640 1288 733",
            " ;1  -3 10 88  790 ; ",
            "2 50 42 53 41 56 44 55 47 51 46",
            "",
            size=(2000, 1000),
        )
    )
    assert [(row["image"], row["shape"], row["box"]) for row in tables["objects"].to_pylist()] == [
        ("train/00001.jpg", "rectangle", [812 / 2000, 233 / 1000, 866 / 2000, 301 / 1000]),
        ("train/00001.jpg", "ellipse", [1200 / 2000, 640 / 1000, 1288 / 2000, 733 / 1000]),
        ("train/00002.jpg", "ellipse", [0, 10 / 1000, 88 / 2000, 790 / 1000]),
        ("train/00003.jpg", "polygon", [50 / 2000, 41 / 1000, 56 / 2000, 47 / 1000]),
    ]
    assert len(tables["images"]) == 5


def test_the_column_of_the_challenge_page(tmp_path):
    root = write(tmp_path, "0 1 2 3 4", header="image_path,annotation")
    text = (root / "train.csv").read_text().replace("00001.jpg", "some/folder/00001.jpg")
    (root / "train.csv").write_text(text)
    assert read(root)["images"]["image"].to_pylist() == ["train/00001.jpg", "dev/09001.jpg"]


def test_no_file_no_box(tmp_path):
    root = write(tmp_path, "0 1 2 3 4", "")
    (root / "train" / "00001.jpg").unlink()
    tables = read(root)
    row = tables["objects"].to_pylist()[0]
    assert (row["points"], row["box"], row["size"]) == ([1, 2, 3, 4], None, None)
    assert tables["images"]["width"].to_pylist() == [None, None, None]


def test_no_area_no_box(tmp_path):
    tables = read(write(tmp_path, "0 5 6 9 9;0 5000 5000 6000 6000;2 33 37 33 37;1 -8 2 0 9", "", size=(200, 100)))
    boxes = tables["objects"]["box"].to_pylist()
    assert boxes == [[5 / 200, 6 / 100, 9 / 200, 9 / 100], None, None, None]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("0 1 2 3", "0 or 1 with four numbers"),
        ("3 1 2 3 4", "0 or 1 with four numbers"),
        ("2 1 2 3 4 5", "2 with pairs"),
        ("0 1 2 3 4;1 a 2 3 4", "whole numbers of pixels; found '1 a 2 3 4'"),
        ("0 1 2 3 4.5", "whole numbers"),
        ("0 1 2 3 99999999999", "whole numbers"),
        ("0 1 2 3 99999999999999999999", "whole numbers"),
    ],
)
def test_faulty_objects_are_named(tmp_path, cell, message):
    with pytest.raises(DataError, match=rf"train.csv:3: .*{message}"):
        read(write(tmp_path, "0 1 2 3 4", cell))


def test_faulty_names_and_files_are_named(tmp_path):
    root = write(tmp_path, "0 1 2 3 4", "")
    (root / "train" / "00001.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"train/00001.jpg: not an image file"):
        read(root)
    (root / "train.csv").write_text("image_name,annotation\n1.jpg,\n2.jpg,\n1.jpg,\n")
    with pytest.raises(DataError, match=r"train.csv:4: image_name is blank, or an earlier row has the same"):
        read(root)
    (root / "train.csv").write_text("image_name,annotation\n1.jpg,\n,0 1 2 3 4\n")
    with pytest.raises(DataError, match=r"train.csv:3: image_name is blank"):
        read(root)


def test_a_missing_table_is_named(tmp_path):
    root = write(tmp_path, "")
    (root / "dev.csv").unlink()
    with pytest.raises(DataError, match=r"dev.csv\. Get it from a mirror"):
        read(root)
