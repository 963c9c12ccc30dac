import csv
import gzip
from datetime import date

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources import get_source
from instruct.sources.mimic_diff_vqa import TYPES

SOURCE = get_source("mimic_diff_vqa")
QUESTIONS, STUDIES = "mimic_pair_questions.csv", "mimic_all.csv"


def read(root, **options):
    tables = SOURCE.tables_of(SOURCE.find(root), SOURCE.options(**options))
    return {name: table.to_pylist() for name, table in tables.items()}


@pytest.fixture
def root(tmp_path):
    synth.write("mimic_diff_vqa", tmp_path / "diff", studies=30, images=False)
    return tmp_path / "diff"


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(path, number, **cells):
    rows = rows_of(path)
    rows[number].update(cells)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def expected(root, types):
    return [
        (number, f"s{row['study_id']}", f"s{row['ref_id']}", f"p{row['subject_id']}", row["question"], row["answer"])
        for number, row in enumerate(rows_of(root / QUESTIONS), 1)
        if row["question_type"] in types
    ]


@pytest.mark.parametrize("types", [["location", "level", "type"], ["difference"], list(TYPES)])
def test_questions_of_the_wanted_types_keep_their_row_numbers(root, types):
    found = read(root, question_types=types)["questions"]
    names = ("number", "study", "reference_study", "patient", "question", "answer")
    assert [tuple(row[name] for name in names) for row in found] == expected(root, types)
    assert all(row["origin"] == f"{QUESTIONS}:{row['number']}" for row in found)


def test_the_types_of_the_published_row_are_the_default(root):
    assert {row["question_type"] for row in read(root)["questions"]} == {"location", "level", "type"}


def test_studies_have_the_image_that_the_file_chose(root):
    written, found = rows_of(root / STUDIES), read(root)["studies"]
    for row, study in zip(written, found, strict=True):
        assert study["image"].endswith(f"/{study['study']}/{row['dicom_id']}.jpg")
        assert (study["study"], study["patient"]) == (f"s{row['study_id']}", f"p{row['subject_id']}")
        assert study["date"] == date.fromisoformat(row["study_date"])
        assert study["study_order"] == float(row["study_order"])


def test_packed_files_read_the_same(root):
    before = read(root)
    path = root / QUESTIONS
    with gzip.open(root / f"{QUESTIONS}.gz", "wb") as packed:
        packed.write(path.read_bytes())
    path.unlink()
    after = read(root)
    assert after["studies"] == before["studies"]
    assert [row["origin"].replace(".gz", "") for row in after["questions"]] == [
        row["origin"] for row in before["questions"]
    ]


@pytest.mark.parametrize(
    ("file", "cells", "message"),
    [
        (QUESTIONS, {"question_type": "size"}, r"csv:3: question_type is 'size'; expected one of abnormality"),
        (QUESTIONS, {"split": "validate"}, "csv:3: split is 'validate'"),
        (QUESTIONS, {"question": ""}, "csv:3: question is None; expected a text"),
        (QUESTIONS, {"question_type": "level", "ref_id": "17"}, "csv:3: ref_id is 17; expected a MIMIC-CXR number"),
        (QUESTIONS, {"study_id": "s5"}, "s5"),
        (STUDIES, {"dicom_id": ""}, "csv:3: dicom_id is empty"),
        (STUDIES, {"study_date": "2180-05-06"}, "study_date is no date"),
    ],
)
def test_a_faulty_cell_is_refused(root, file, cells, message):
    rewrite(root / file, 1, **cells)
    with pytest.raises(DataError, match=message):
        read(root)


def test_a_study_that_stands_twice_is_refused(root):
    first = rows_of(root / STUDIES)[0]["study_id"]
    rewrite(root / STUDIES, 4, study_id=first)
    with pytest.raises(DataError, match=rf"csv:6: study s{first} stands also at line 2"):
        read(root)
