import csv

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources.rexval import CANDIDATES, METHODS, RATINGS, SOURCE
from tests.rows.test_rexval import ratings_of, write_release


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())


def test_the_tables_hold_what_the_files_hold(tmp_path):
    synth.write("rexval", tmp_path / "rexval", studies=40, images=False)
    tables = read(tmp_path / "rexval")
    assert tables["candidates"].schema.equals(CANDIDATES.schema)
    assert tables["ratings"].schema.equals(RATINGS.schema)
    with (tmp_path / "rexval/50_samples_gt_and_candidates.csv").open(newline="") as file:
        reports = list(csv.DictReader(file))
    rows = tables["candidates"].to_pylist()
    assert [(row["number"], row["method"]) for row in rows] == [(n, m) for n in range(len(reports)) for m in METHODS]
    for row in rows:
        report = reports[row["number"]]
        assert row["study"] == f"s{report['study_id']}"
        assert row["reference"] == report["gt_report"].strip()
        assert row["candidate"] == report[row["method"]].strip()
    with (tmp_path / "rexval/6_valid_raters_per_rater_error_categories.csv").open(newline="") as file:
        given = list(csv.DictReader(file))
    ours = ("number", "method", "category", "rater", "significant", "errors")
    theirs = ("study_number", "candidate_type", "error_category", "rater_index", "clinically_significant", "num_errors")
    assert [[str(row[key]) for key in ours] for row in tables["ratings"].to_pylist()] == [
        [row[key] for key in theirs] for row in given
    ]
    assert len(tables["categories"]) == 6


def test_columns_are_taken_by_name_and_blank_ratings_are_left_out(tmp_path):
    write_release(tmp_path, ratings_of(1, "", 2.0))
    path = tmp_path / "6_valid_raters_per_rater_error_categories.csv"
    rows = [line.split(",") for line in path.read_text().split()]
    order = [3, 5, 0, 4, 2, 1]
    path.write_text("\n".join(",".join(row[k] for k in order) for row in rows) + "\n")
    found = read(tmp_path)["ratings"].to_pylist()
    assert [(row["rater"], row["errors"], row["origin"].rpartition(":")[2]) for row in found] == [
        (0, 1, "1"),
        (2, 2, "3"),
    ]


@pytest.mark.parametrize(
    ("rating", "message"),
    [
        ((1, "bleu", 1, 0, True, 1), "row 1: study_number is 1; expected a row of the reports, 0 to 0"),
        ((0, "rouge", 1, 0, True, 1), "row 1: candidate_type is 'rouge'; expected radgraph, bertscore"),
        ((0, "bleu", 7, 0, True, 1), "row 1: error_category is 7; expected 1 to 6"),
        ((0, "bleu", 1, 0, True, 1.5), "row 1: num_errors is 1.5; expected a whole number"),
        ((0, "bleu", 1, 0, True, -1), "row 1: num_errors is -1.0; expected a whole number"),
        ((0, "bleu", 1, "", True, 1), "row 1: rater_index is None; expected a number"),
        ((0, "bleu", 1, 0, "perhaps", 1), "categories.csv.*perhaps"),
    ],
)
def test_a_rating_of_nothing_is_named(tmp_path, rating, message):
    write_release(tmp_path, [rating])
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_report_without_text_or_study_and_missing_files_are_named(tmp_path):
    write_release(tmp_path / "a", [], studies=("",))
    with pytest.raises(DataError, match=r"candidates\.csv:2: study_id is None; expected a MIMIC-CXR number"):
        read(tmp_path / "a")
    write_release(tmp_path / "b", [])
    path = tmp_path / "b" / "50_samples_gt_and_candidates.csv"
    path.write_text(path.read_text().replace("bleu of 59999901", ""))
    with pytest.raises(DataError, match=r"row 1: bleu is empty; every study has a reference and four candidates"):
        read(tmp_path / "b")
    path.unlink()
    with pytest.raises(DataError, match=r"reports not found; expected 50_samples.*rexval-dataset on PhysioNet"):
        read(tmp_path / "b")
