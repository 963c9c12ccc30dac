import csv

import pytest

from instruct.errors import DataError
from instruct.sources import get_source
from instruct.sources.brax import VIEWS
from instruct.synth import brax

SOURCE = get_source("brax")


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["images"]


def cells_of(root):
    with (root / brax.SPREADSHEET).open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(root, rows, columns):
    with (root / brax.SPREADSHEET).open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)


def test_what_is_read_is_what_was_written(tmp_path):
    brax.write(tmp_path, studies=60, images=False)
    written = cells_of(tmp_path)
    for row, cells in zip(read(tmp_path).to_pylist(), written, strict=True):
        assert row["image"] == cells["PngPath"]
        assert row["study"] == cells["AccessionNumber"] and int(row["study"]) > 2**53
        assert row["patient"] == cells["PatientID"]
        assert row["view"] == (cells["ViewPosition"] or None)
        view = cells["ViewPosition"]
        assert row["view_rank"] == (VIEWS.index(view) + 1 if view in VIEWS else 8)
        direction = {"PA": "Frontal", "AP": "Frontal", "AP LLD": "Frontal", "L": "Lateral", "RL": "Lateral"}.get(view)
        assert row["direction"] == direction
        assert {item["label"]: item["value"] for item in row["labels"]} == {
            label: float(cells[label]) if cells[label] else None for label in brax.LABELS
        }
        assert row["age"] == cells["PatientAge"]


def test_columns_are_found_by_name(tmp_path):
    brax.write(tmp_path, studies=20, images=False)
    wanted, rows = read(tmp_path), cells_of(tmp_path)
    rewrite(tmp_path, rows, ["", "New", *reversed(brax.COLUMNS[1:])])
    assert read(tmp_path) == wanted


def test_the_release_may_lie_in_the_folder_of_its_version(tmp_path):
    brax.write(tmp_path / "1.1.0", studies=20)
    images = read(tmp_path)["image"].to_pylist()
    assert all((SOURCE.image_folder(tmp_path) / image).is_file() for image in images)
    (tmp_path / "1.1.0" / brax.SPREADSHEET).rename(tmp_path / "1.1.0" / "master_spreadsheet.csv")
    assert read(tmp_path)["image"].to_pylist() == images


def test_faults(tmp_path):
    with pytest.raises(DataError, match=r"spreadsheet not found; expected .*physionet.org/content/brax"):
        SOURCE.find(tmp_path)
    brax.write(tmp_path, studies=20, images=False)
    rows = cells_of(tmp_path)
    rewrite(tmp_path, rows, [column for column in brax.COLUMNS if column != "Edema"])
    with pytest.raises(DataError, match=r"master_spreadsheet_update.csv:1: no column Edema; the file has"):
        read(tmp_path)
    rewrite(tmp_path, [rows[0], {**rows[1], "Edema": "yes"}, *rows[2:]], brax.COLUMNS)
    with pytest.raises(DataError, match=r"master_spreadsheet_update.csv:3: .*'yes'"):
        read(tmp_path)
    rewrite(tmp_path, [rows[0], {**rows[1], "Edema": "2.0"}, *rows[2:]], brax.COLUMNS)
    with pytest.raises(DataError, match=r"master_spreadsheet_update.csv:3: Edema is 2; expected 1, 0, -1 or blank"):
        read(tmp_path)
    rewrite(tmp_path, [rows[0], {**rows[1], "PatientID": ""}, *rows[2:]], brax.COLUMNS)
    with pytest.raises(DataError, match=r"master_spreadsheet_update.csv:3: no PatientID"):
        read(tmp_path)
