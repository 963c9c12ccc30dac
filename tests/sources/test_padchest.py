import csv
import datetime
import gzip

import pytest

from instruct.errors import DataError
from instruct.sources import get_source
from instruct.sources.padchest import VIEWS
from instruct.synth import padchest

SOURCE = get_source("padchest")


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["images"]


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_read_is_what_was_written(tmp_path, packed):
    padchest.write(tmp_path, studies=60, images=False, packed=packed)
    if packed:
        text = gzip.decompress((tmp_path / f"{padchest.TABLE}.gz").read_bytes()).decode()
    else:
        text = (tmp_path / padchest.TABLE).read_text()
    written = list(csv.DictReader(text.splitlines()))
    rows = read(tmp_path).to_pylist()
    for row, cells in zip(rows, written, strict=True):
        assert (row["image"], row["study"], row["patient"]) == (cells["ImageID"], cells["StudyID"], cells["PatientID"])
        assert row["file"] == f"{cells['ImageDir']}/{cells['ImageID']}"
        assert row["view"] == (cells["ViewPosition_DICOM"] or None)
        view = cells["ViewPosition_DICOM"]
        assert row["view_rank"] == (VIEWS.index(view) + 1 if view in VIEWS else 12)
        assert row["report"] == (cells["Report"].strip() or None)
        assert row["birth"] == (int(float(cells["PatientBirth"])) if cells["PatientBirth"] else None)
        labels = [label.strip() for label in eval(cells["Labels"] or "[]")]
        assert row["labels"] == [label for label in labels if label]
        assert row["split"] == "train"
    # No identifier went through a number.
    assert {len(row["study"]) for row in rows} == {45}
    dates = [row["date"] for row in rows if row["date"]]
    assert dates and all(datetime.date(2010, 1, 1) <= date < datetime.date(2018, 1, 1) for date in dates)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("normal", "row 2 has Labels 'normal'; expected a list of texts"),
        ("['normal', 3]", r"row 2 has Labels .*3\]"),
        ("__import__('os').getcwd()", "row 2 has Labels"),
        ("['normal'", "row 2 has Labels"),
    ],
)
def test_labels_are_literals_and_nothing_else(tmp_path, labels, message):
    padchest.write(tmp_path, studies=20, images=False)
    path = tmp_path / padchest.TABLE
    rows = list(csv.DictReader(path.read_text().splitlines()))
    rows[0]["Labels"] = labels
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_faults(tmp_path):
    with pytest.raises(DataError, match=r"labels not found; expected PADCHEST_.*Request PadChest from BIMCV"):
        SOURCE.find(tmp_path)
    padchest.write(tmp_path, studies=20, images=False)
    path = tmp_path / padchest.TABLE
    text = path.read_text()
    path.write_text(text.replace("StudyID", "Study", 1))
    with pytest.raises(DataError, match=r"01.02.19.csv:1: no column StudyID; the file has"):
        read(tmp_path)
    header, first, rest = text.split("\n", 2)
    cells = first.split(",")
    path.write_text("\n".join([header, ",".join([*cells[:4], "", *cells[5:]]), rest]))
    with pytest.raises(DataError, match="row 2 has no StudyID"):
        read(tmp_path)
    path.write_text("\n".join([header, first + ",more", rest]))
    with pytest.raises(DataError, match=r"01.02.19.csv:2: .*Expected 36 columns"):
        read(tmp_path)
