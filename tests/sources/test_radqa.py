import json

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources.radqa import QUESTIONS, SOURCE
from tests.rows.test_radqa import CONTEXT, question, write_release


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["questions"]


def test_the_table_holds_what_the_files_hold(tmp_path):
    planted = synth.write("radqa", tmp_path, studies=40)
    table = read(tmp_path)
    assert table.schema.equals(QUESTIONS.schema)
    rows = table.to_pylist()
    at = 0
    for name, split in (("train", "train"), ("dev", "val"), ("test", "test")):
        number = 0
        for document in json.loads((tmp_path / f"{name}.json").read_text())["data"]:
            for section, paragraph in enumerate(document["paragraphs"], 1):
                for asked in paragraph["qas"]:
                    number += 1
                    answers = [
                        {"text": answer["text"], "start": answer["answer_start"], "exact": True}
                        for answer in asked["answers"]
                    ]
                    assert rows[at] == {
                        "question_id": asked["id"],
                        "split": split,
                        "report": document["title"],
                        "section": section,
                        "document": paragraph["document_id"],
                        "context": paragraph["context"],
                        "question": asked["question"],
                        "answerable": not asked["is_impossible"],
                        "answers": answers,
                        "origin": f"{name}.json:{number}",
                    }
                    at += 1
    assert at == len(rows)
    traps = planted.distractors
    assert traps["questions_without_answer"] == sum(not row["answerable"] for row in rows) > 0
    assert traps["questions_with_two_answers"] == sum(len(row["answers"]) == 2 for row in rows) > 0
    assert traps["answers_over_a_line_break"] == sum(
        "\n" in row["answers"][0]["text"] for row in rows if row["answers"]
    )
    blank = {(row["report"], row["section"]) for row in rows if row["context"][0].isspace()}
    assert traps["sections_that_start_with_a_blank"] == len(blank) > 0


def test_a_span_that_is_not_where_it_should_be_is_marked(tmp_path):
    moved = question("a", "effusion")
    moved["answers"][0]["answer_start"] += 1
    write_release(tmp_path / "radqa", train=[("r", (CONTEXT, [moved, question("b", "effusion")]))])
    assert [row["answers"][0]["exact"] for row in read(tmp_path / "radqa").to_pylist()] == [False, True]


def changed(**fields):
    return {**question("b", "effusion"), **fields}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (changed(id="a"), "id 'a' stands also before"),
        (changed(id=None), "id is None; expected a text"),
        (changed(question=" "), r"question 'b': question is ' '; expected a text"),
        (changed(answers=[]), "not marked as impossible and has no answer"),
        (changed(answers=[{"text": "effusion"}]), "answer_start is None; expected a number"),
        (changed(answers="effusion"), "no list 'answers'"),
        (changed(is_impossible=None), "is_impossible is None; expected true or false"),
        ("Is there an effusion?", "expected an object in the form of SQuAD"),
    ],
)
def test_a_question_of_another_form_is_named(tmp_path, asked, message):
    write_release(tmp_path / "radqa", dev=[("r-9", (CONTEXT, [question("a"), asked]))])
    with pytest.raises(DataError, match=r"dev\.json:1: document 1 \(r-9\), paragraph 1.*" + message):
        read(tmp_path / "radqa")


def test_files_of_another_form_or_missing_are_refused(tmp_path):
    write_release(tmp_path / "radqa")
    assert len(read(tmp_path / "radqa")) == 0
    (tmp_path / "radqa" / "test.json").write_text("[]")
    with pytest.raises(
        DataError, match=r"test\.json:1: file: expected an object in the form of SQuAD 2\.0, found list"
    ):
        read(tmp_path / "radqa")
    (tmp_path / "radqa" / "test.json").unlink()
    with pytest.raises(DataError, match=r"test not found; expected test\.json .*radqa on PhysioNet"):
        read(tmp_path / "radqa")


def test_documents_of_one_title_or_none_are_reports_of_their_own(tmp_path):
    write_release(
        tmp_path / "radqa",
        train=[
            ["r-1", [CONTEXT, [question("1")]]],
            ["notes", [CONTEXT, [question("2")]]],
            ["notes", [CONTEXT, [question("3")]], [CONTEXT, [question("4")]]],
            ["", [CONTEXT, [question("5")]]],
        ],
    )
    assert read(tmp_path / "radqa")["report"].to_pylist() == ["r-1", "train-2", "train-3", "train-3", "train-4"]
