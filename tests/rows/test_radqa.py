import json

import pytest

from instruct import synth
from tests.rows.builds import assert_as_planted, examples, prompt_and_answer, records, the_task, write_and_build

TASK = "Text QA"
CONTEXT = "\n FINDINGS: There is a small left\n effusion. The line\n  is in place."


def write_release(root, **files):
    """A release with these questions in files: lists of [context, questions], a report each."""
    root.mkdir(parents=True)
    for name in ("train", "dev", "test"):
        documents = [
            {"title": title, "paragraphs": [{"context": context, "qas": qas} for context, qas in paragraphs]}
            for title, *paragraphs in files.get(name, ())
        ]
        (root / f"{name}.json").write_text(json.dumps({"version": "1", "data": documents}))


def question(identifier, *answers, impossible=None):
    spans = [{"text": text, "answer_start": CONTEXT.index(text)} for text in answers]
    return {
        "id": identifier,
        "question": "Is there an effusion?",
        "answers": spans,
        "is_impossible": not answers if impossible is None else impossible,
    }


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (60, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    planted, result = write_and_build(tmp_path, "radqa", studies, seed)
    assert_as_planted(planted, result)
    (row,) = planted.counts.values()
    assert all(counts.examples and counts.images == 0 for counts in row.values())


def test_the_planned_counts_of_the_release(tmp_path):
    (row,) = synth.write("radqa", tmp_path / "radqa", studies=1009).counts.values()
    assert the_task("radqa").task.expect == {split: counts.examples for split, counts in row.items()}
    assert {split: counts.studies for split, counts in row.items()} == {"train": 803, "val": 102, "test": 104}


def test_answers_are_spans_with_their_line_breaks_as_blanks(tmp_path):
    write_release(
        tmp_path / "radqa",
        train=[("r-1", (CONTEXT, [question("a", "small left\n effusion"), question("b")]))],
        dev=[("r-2", (CONTEXT, [question("a", "The line\n  is in place", "The line")]))],
    )
    found = records(tmp_path, "radqa", TASK)
    assert set(found) == {"train/a", "train/b", "val/a"}
    assert found["train/a"]["answer"] == "small left effusion"
    assert found["train/b"]["answer"] == "Not answerable"
    assert (found["val/a"]["answer"], found["val/a"]["answers"]) == (
        "The line is in place",
        ["The line is in place", "The line"],
    )
    assert found["train/a"]["context"] == CONTEXT.strip()
    assert found["val/a"]["origin"] == "dev.json:1"
    assert found["val/a"]["split"] == "val"


def test_a_question_that_is_impossible_has_no_answer_even_where_spans_are_listed(tmp_path):
    write_release(tmp_path / "radqa", train=[("r-1", (CONTEXT, [question("a", "small left", impossible=True)]))])
    assert records(tmp_path, "radqa", TASK)["train/a"]["answers"] == ["Not answerable"]


def test_a_study_is_a_report_not_a_section(tmp_path):
    write_release(
        tmp_path / "radqa",
        test=[("r-1", (CONTEXT, [question("a")]), (CONTEXT, [question("b")])), ("", (CONTEXT, [question("c")]))],
    )
    studies = [record["studies"] for record in records(tmp_path, "radqa", TASK).values()]
    assert studies == [["r-1"], ["r-1"], ["test-2"]]


def test_every_prompt_says_what_to_answer_where_the_text_does_not(tmp_path):
    _, result = write_and_build(tmp_path, "radqa", 20)
    said = set()
    for example in examples(result):
        prompt, answer = prompt_and_answer(example)
        told = "".join(turn["value"] for turn in example["conversations"] if turn["from"] != "gpt")
        assert "Not answerable" in told
        said.add(example["provenance"]["variant"])
        assert answer == "Not answerable" or answer in " ".join(prompt.split())
    assert len(said) >= 8
