import pytest

from instruct.synth.mimic_cxr_corpus import corpus
from tests.rows.linked import assert_counts_as_planted, corpus_tables, made_up_tables, records

OPEN, CLOSED = "Open-Ended VQA", "Close-Ended VQA"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (90, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    assert_counts_as_planted(tmp_path, "mimic_cxr_vqa", studies, seed)


def ask(question, *answers):
    row = {
        "idx": 1, "split": "val", "image": "p10/a.jpg", "study": "s50000001", "patient": "p10000001",
        "question": question, "answers": list(answers), "origin": "dataset/valid.json:1",
    }  # fmt: skip
    tables = made_up_tables(mimic_cxr_vqa__questions=[row])
    opened, closed = (list(records(tables, task, "mimic_cxr_vqa").values()) for task in (OPEN, CLOSED))
    return [row["answer"] for row in opened], [row["answers"] for row in closed]


@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        (("edema", "pneumothorax"), "Edema, pneumothorax"),
        (("f",), "Female"),
        (("m",), "Male"),
        (("ap",), "AP"),
        (("pa",), "PA"),
    ],
)
def test_answers_are_listed_and_spelled_out(answers, shown):
    assert ask("Which?", *answers) == ([shown], [])


@pytest.mark.parametrize(("answer", "shown"), [("yes", "Yes"), ("no", "No")])
def test_verdicts_are_in_both_rows(answer, shown):
    assert ask("Is there edema?", answer) == ([shown], [[shown]])


def test_a_question_without_an_answer_is_in_neither_row():
    assert ask("What tubes are there?") == ([], [])


def test_any_abnormalities_must_name_a_place():
    assert ask("Are there any abnormalities?", "yes") == ([], [])
    assert ask("Are there any abnormalities in the left lung?", "yes") == (["Yes"], [["Yes"]])


def test_the_split_is_the_release_s_own(tmp_path):
    tables = corpus_tables(tmp_path, "mimic_cxr_vqa")
    written = {study.study: study for study in corpus(60)}
    found = records(tables, OPEN, "mimic_cxr_vqa").values()
    patients = {}
    for row in found:
        patients.setdefault(row["patient"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in patients.values())
    assert any({"validate": "val"}.get(written[row["studies"][0]].split) != row["split"] for row in found)
