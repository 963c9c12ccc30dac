import csv

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources import get_source

SOURCE = get_source("ms_cxr_t")
PAIRS = "MS_CXR_T_temporal_image_classification_v1.0.0.csv"
SENTENCES = "MS_CXR_T_temporal_sentence_similarity_v1.0.0.csv"
FINDINGS = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")


def read(root):
    tables = SOURCE.tables_of(SOURCE.find(root), SOURCE.options())
    return {name: table.to_pylist() for name, table in tables.items()}


@pytest.fixture
def root(tmp_path):
    synth.write("ms_cxr_t", tmp_path / "ms_cxr_t", studies=30, images=False)
    return tmp_path / "ms_cxr_t"


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


def test_a_row_per_pair_and_labelled_finding(root):
    expected = [
        (number, finding.replace("_", " "), row[f"{finding}_progression"], row[f"{finding}_label_quality"])
        for number, row in enumerate(rows_of(root / PAIRS), 1)
        for finding in FINDINGS
        if row[f"{finding}_progression"]
    ]
    found = read(root)["comparisons"]
    assert [(row["number"], row["finding"], row["progression"], row["label_quality"]) for row in found] == expected
    written = rows_of(root / PAIRS)
    for row in found:
        pair = written[row["number"] - 1]
        assert row["image"] == pair["dicom_id"] + ".jpg"
        assert row["previous_image"] == pair["previous_dicom_id"] + ".jpg"
        assert (row["study"], row["previous_study"]) == (f"s{pair['study_id']}", f"s{pair['previous_study_id']}")
        assert row["patient"] == f"p{pair['subject_id']}"
        assert row["origin"] == f"{PAIRS}:{row['number']}"


@pytest.mark.parametrize(
    "form",
    [
        lambda path: path.split("/")[-1],
        lambda path: f"{path}.jpg",
        lambda path: f"files/{path}",
        lambda path: f"/mimic-cxr-jpg/2.0.0/files/{path}.jpg",
    ],
)
def test_dicom_ids_of_other_forms_give_the_same_paths(root, form):
    before = read(root)["comparisons"]
    for number, row in enumerate(rows_of(root / PAIRS)):
        rewrite(root / PAIRS, number, **{name: form(row[name]) for name in ("dicom_id", "previous_dicom_id")})
    assert read(root)["comparisons"] == before


def test_sentences(root):
    written, found = rows_of(root / SENTENCES), read(root)["sentences"]
    for number, (row, given) in enumerate(zip(found, written, strict=True), 1):
        assert {**given, "origin": f"{SENTENCES}:{number}"} == {
            "subset_name": row["subset"],
            **{name: row[name] for name in ("sentence_1", "sentence_2", "category", "origin")},
        }


def test_sentences_without_a_subset(root):
    rows = rows_of(root / SENTENCES)
    names = ("sentence_1", "sentence_2", "category")
    with (root / SENTENCES).open("w", newline="") as file:
        csv.writer(file).writerows([names, *([row[name] for name in names] for row in rows)])
    assert {row["subset"] for row in read(root)["sentences"]} == {None}


@pytest.mark.parametrize(
    ("file", "cells", "message"),
    [
        (PAIRS, {"edema_progression": "better"}, r"csv:3: edema_progression is 'better'; expected improving, stable"),
        (PAIRS, {"study_id": "7"}, "csv:3: study_id is '7'"),
        (PAIRS, {"dicom_id": "p19/p1/s5/a"}, r"csv:3: dicom_id is 'p19/p1/s5/a'; expected p../p\d+/s\d+/<d"),
        (PAIRS, {"dicom_id": "s50000001/a"}, r"csv:3: dicom_id is 's50000001/a'; expected p../p\d+/s\d+/<d"),
        (PAIRS, {"previous_dicom_id": ""}, "csv:3: previous_dicom_id is None"),
        (SENTENCES, {"category": "neutral"}, "csv:3: category is 'neutral'; expected paraphrase, contradiction"),
        (SENTENCES, {"sentence_2": ""}, "csv:3: sentence_2 is empty"),
    ],
)
def test_a_faulty_cell_is_refused(root, file, cells, message):
    rewrite(root / file, 1, **cells)
    with pytest.raises(DataError, match=message):
        read(root)


def test_missing_files_are_both_named(tmp_path):
    with pytest.raises(DataError, match=r"(?s)image_classification.*sentence_similarity.*PhysioNet"):
        SOURCE.find(tmp_path)
