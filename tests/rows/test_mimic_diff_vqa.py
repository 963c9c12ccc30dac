import pytest

from instruct import synth
from instruct.errors import DataError
from tests.rows.linked import assert_counts_as_planted, build, corpus_tables, made_up_tables, records

TASK = "Difference VQA"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (90, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    assert_counts_as_planted(tmp_path, "mimic_diff_vqa", studies, seed)


def test_difference_questions_on_request(tmp_path):
    planted = synth.write("mimic_diff_vqa", tmp_path / "data" / "mimic_diff_vqa", studies=30)
    rows = build(tmp_path, "mimic_diff_vqa", "{question_types: [difference]}").counts.rows
    counts = rows["[Difference VQA] [MIMIC-Diff-VQA]"].values()
    assert sum(count.examples for count in counts) == planted.distractors["questions_difference"]


MAIN, REFERENCE = "s50000002", "s50000001"


def tables(question_type="location", answer="right base, left base", *, reference_split="train", images=2):
    question = {
        "number": 7, "study": MAIN, "reference_study": REFERENCE, "patient": "p10000001", "answer": answer,
        "question_type": question_type, "question": "where is it?", "release_split": "test", "origin": "q.csv:7",
    }  # fmt: skip
    studies = [{"study": name, "image": f"{name}.jpg", "patient": "p10000001"} for name in (MAIN, REFERENCE)]
    official = [
        {"study": name, "patient": "p10000001", "split": split, "images": [], "origin": "x:1"}
        for name, split in ((MAIN, "train"), (REFERENCE, reference_split))
    ]
    return made_up_tables(
        mimic_diff_vqa__questions=[question], mimic_diff_vqa__studies=studies[:images], mimic_cxr__studies=official
    )


def ask(*given, **more):
    return list(records(tables(*given, **more), TASK, "mimic_diff_vqa").values())


def test_a_question_about_one_image_shows_the_main_image():
    (found,) = ask()
    assert (found["id"], found["split"], found["studies"]) == (f"{MAIN}:7", "train", [MAIN])
    assert found["images"] == [f"{MAIN}.jpg"]
    assert found["question"] == "Where is it?"
    assert found["answer"] == "Left base, right base"


def test_a_question_about_the_difference_shows_the_reference_first():
    (found,) = ask("difference", "the main image has edema, and no effusion.")
    assert found["images"] == [f"{REFERENCE}.jpg", f"{MAIN}.jpg"]
    assert found["answer"] == "The main image has edema, and no effusion."


def test_a_difference_without_both_images_is_left_to_quarantine():
    assert [row["images"] for row in ask("difference", "nothing", images=1)] == [[]]
    assert [row["images"] for row in ask("level", "mild", images=0)] == [[]]


def test_a_blank_answer_is_left_to_quarantine():
    assert [row["answer"] for row in ask("level", None)] == [""]


def test_main_and_reference_must_be_in_one_official_split():
    assert ask(reference_split="test") == []


def test_a_study_that_mimic_cxr_does_not_have_is_refused():
    broken = tables()
    broken["mimic_cxr"]["studies"] = broken["mimic_cxr"]["studies"].slice(1)
    with pytest.raises(DataError, match=f"record '{MAIN}:7' has split None"):
        records(broken, TASK, "mimic_diff_vqa")


def test_swapped_differences_keep_the_row_s_own_order(tmp_path):
    found = corpus_tables(tmp_path, "mimic_diff_vqa", question_types=["difference"])
    images = {row["study"]: row["image"] for row in found["mimic_diff_vqa"]["studies"].to_pylist()}
    asked = {row["origin"]: row for row in found["mimic_diff_vqa"]["questions"].to_pylist()}
    rows = records(found, TASK, "mimic_diff_vqa").values()
    assert rows
    for row in rows:
        question = asked[row["origin"]]
        assert row["images"] == [images[question["reference_study"]], images[question["study"]]]
