import csv
from collections import Counter, defaultdict

import pytest

from instruct import synth
from instruct.evaluation.tasks.answers import numbers_of
from tests.rows.builds import assert_as_planted, examples, prompt_and_answer, records, the_task, write_and_build

TASK = "Report Evaluation"
METHODS = ("radgraph", "bertscore", "s_emb", "bleu")


def write_release(root, ratings, studies=(59999901,)):
    """A release whose reports name their study; ratings are (study, method, category, rater, significant, errors)."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / "50_samples_gt_and_candidates.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("study_id", "gt_report", *METHODS))
        rows.writerows((study, f"Reference\nof {study}", *(f"{m} of {study}" for m in METHODS)) for study in studies)
    with (root / "6_valid_raters_per_rater_error_categories.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            ("study_number", "candidate_type", "error_category", "rater_index", "clinically_significant", "num_errors")
        )
        rows.writerows(ratings)


def ratings_of(*counts, category=1, method="bleu", number=0, significant=True):
    return [(number, method, category, rater, significant, count) for rater, count in enumerate(counts)]


def errors_of(record):
    return {error["category"]: error["number"] for error in record["errors"]}


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (60, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    planted, result = write_and_build(tmp_path, "rexval", studies, seed)
    assert_as_planted(planted, result)
    (row,) = planted.counts.values()
    assert row["test"].examples == 4 * row["test"].studies > 0
    assert {study.split("/")[0] for example in examples(result) for study in example["keys"]["studies"]} == {
        "mimic_cxr"
    }


def test_the_planned_counts_of_the_release(tmp_path):
    (row,) = synth.write("rexval", tmp_path / "rexval", studies=1000, images=False).counts.values()
    assert the_task("rexval").task.expect == {"test": row["test"].examples}
    assert row["test"].studies == 50


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((2, 0, 0, 0, 1, 0), "0"),
        ((1, 1, 1, 2, 2, 2), "1"),  # a tie: the smaller number
        ((2, 2, 1, 1, 0, 0), "0"),
        ((3, 3, 3, "", "", 0), "3"),  # two raters said nothing, which is not zero
        ((0.0, 2.0, 2.0), "2"),
        (("", ""), None),
    ],
)
def test_the_answer_is_what_most_raters_counted(tmp_path, counts, expected):
    rows = [*ratings_of(*counts), *ratings_of(9, 9, 9, significant=False), *ratings_of(1, category=2)]
    write_release(tmp_path / "rexval", rows)
    errors = errors_of(records(tmp_path, "rexval", TASK)["00-bleu"])
    assert errors["false finding"] == (expected or "not rated")
    assert errors["missing finding"] == "1"
    assert errors["missing comparison"] == "not rated"
    assert list(errors) == records(tmp_path, "rexval", TASK)["00-bleu"]["categories"]


def test_ratings_are_about_the_row_of_the_study_not_its_number(tmp_path):
    rows = [*ratings_of(1, number=0), *ratings_of(2, number=1), *ratings_of(3, method="s_emb", number=1)]
    write_release(tmp_path / "rexval", rows, studies=(59999902, 50000001))
    found = records(tmp_path, "rexval", TASK)
    assert {key: (record["studies"], errors_of(record)["false finding"]) for key, record in found.items()} == {
        "00-bleu": (["s59999902"], "1"),
        "01-bleu": (["s50000001"], "2"),
        "01-s_emb": (["s50000001"], "3"),
    }
    record = found["01-s_emb"]
    assert (record["reference"], record["candidate"]) == ("Reference\nof 50000001", "s_emb of 50000001")
    assert record["origin"] == "50_samples_gt_and_candidates.csv:2"


def test_the_answers_are_the_votes_of_the_files(tmp_path):
    _, result = write_and_build(tmp_path, "rexval", 60)
    votes = defaultdict(Counter)
    with (tmp_path / "data/rexval/6_valid_raters_per_rater_error_categories.csv").open() as file:
        for row in csv.DictReader(file):
            if row["clinically_significant"] == "True":
                key = f"{int(row['study_number']):02}-{row['candidate_type']}"
                votes[key, int(row["error_category"])][int(row["num_errors"])] += 1
    seen = set()
    for example in examples(result):
        _, answer = prompt_and_answer(example)
        wanted = [
            min(errors for errors, raters in vote.items() if raters == max(vote.values()))
            for vote in (votes[example["id"], category] for category in range(1, 7))
        ]
        assert list(numbers_of(answer, {})) == wanted
        seen.add(example["provenance"]["variant"])
    assert len(seen) >= 5
