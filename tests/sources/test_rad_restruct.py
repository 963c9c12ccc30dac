import json
import re

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources.rad_restruct import REPORTS, SOURCE
from instruct.sources.rad_restruct_questions import QUESTIONS
from instruct.synth.rad_restruct_plan import plan_reports
from tests.rows.test_rad_restruct import QUESTIONS as ASKED
from tests.rows.test_rad_restruct import write_release


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())


def test_the_tables_hold_what_the_files_hold(tmp_path):
    root = tmp_path / "rad_restruct"
    planted = synth.write("rad_restruct", root, studies=40, images=False)
    tables = read(root)
    assert tables["reports"].schema.equals(REPORTS.schema)
    assert tables["questions"].schema.equals(QUESTIONS.schema)
    reports, questions = tables["reports"].to_pylist(), tables["questions"].to_pylist()
    assert [(r["split"], r["report"]) for r in reports] == [(r.split, r.number) for r in plan_reports(40, 0)]
    folder = root / "data" / "radrestruct"
    mapping = json.loads((folder / "id_to_img_mapping_frontal_reports.json").read_text())
    at = 0
    for report in reports:
        assert report["images"] == [f"{stem}.png" for stem in mapping[str(report["report"])]]
        assert report["study"] == f"CXR{report['report']}"
        rows = json.loads((folder / f"{report['split']}_qa_pairs" / f"{report['report']}.json").read_text())
        assert report["questions"] == len(rows)
        for number, (question, answers, history, info) in enumerate(rows, 1):
            assert questions[at] == {
                "study": report["study"],
                "split": report["split"],
                "number": number,
                "question": question,
                "answers": answers,
                "history": [{"question": asked, "answers": said} for asked, said in history],
                **info,
                "origin": f"{report['origin']}:{number}",
            }
            at += 1
    assert at == len(questions) == sum(n.examples for n in planted.counts["[Open-Ended VQA] [Rad-Restruct]"].values())


def test_reports_are_ordered_as_numbers_and_folders_can_stand_alone(tmp_path):
    write_release(tmp_path, train={1000: ASKED, 20: ASKED, 3: ASKED})
    (tmp_path / "train_ids.json").unlink()
    assert read(tmp_path)["reports"]["report"].to_pylist()[:3] == [3, 20, 1000]


def change(number, place, value):
    questions = json.loads(json.dumps(ASKED))
    questions[number - 1][place] = value
    return questions


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        (change(3, 1, ["tiny"]), r"7\.json:1: question 3 .* 'tiny', which is not among its options \['mild'"),
        (change(2, 1, []), r"7\.json:1: question 2 .* no answer"),
        (change(2, 1, "yes"), r"7\.json:1: question 2 is not \[question, \[answer"),
        (change(4, 2, [["Why?"]]), r"7\.json:1: question 4 is not \[question"),
        (change(4, 3, {"options": ["left", "right"]}), r"7\.json:1: question 4 .*missing required field `answer_type`"),
        (
            change(1, 3, {**ASKED[0][3], "answer_type": "open"}),
            r"7\.json:1: question 1 .* type 'open'; expected single",
        ),
        ([ASKED[0][:3]], r"7\.json:1: question 1 is not \[question"),
        ([], r"7\.json:1: expected a list of questions, found no question"),
        ({"Why?": "no"}, r"7\.json:1: expected a list of questions, found dict"),
    ],
)
def test_a_question_of_another_form_is_named(tmp_path, questions, message):
    write_release(tmp_path, train={5: ASKED, 7: questions})
    with pytest.raises(DataError, match=message):
        read(tmp_path)


def test_a_file_that_is_cut_off_is_named(tmp_path):
    write_release(tmp_path, train={5: ASKED})
    path = tmp_path / "train_qa_pairs" / "5.json"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"5\.json:1: malformed JSON .*cut off"):
        read(tmp_path)


def test_a_lost_report_a_report_in_two_splits_and_one_without_image_are_refused(tmp_path):
    write_release(tmp_path / "a", train={5: ASKED, 6: ASKED})
    (tmp_path / "a" / "train_qa_pairs" / "6.json").unlink()
    with pytest.raises(DataError, match=r"train_ids\.json:1: report 6 is listed and has no file in train_qa_pairs"):
        read(tmp_path / "a")
    write_release(tmp_path / "b", train={5: ASKED}, test={5: ASKED})
    with pytest.raises(DataError, match=r"test_qa_pairs/5\.json:1: report 5 stands also in another split"):
        read(tmp_path / "b")
    write_release(tmp_path / "c", train={5: ASKED})
    (tmp_path / "c" / "id_to_img_mapping_frontal_reports.json").write_text('{"2": ["x"], "3": ["y"], "5": []}')
    with pytest.raises(
        DataError, match=r"mapping_frontal_reports\.json:1: no image of report 5, whose questions are in"
    ):
        read(tmp_path / "c")


def test_missing_files_are_named_with_where_to_get_them(tmp_path):
    with pytest.raises(DataError) as error:
        SOURCE.find(tmp_path)
    lines = str(error.value).splitlines()
    assert len(lines) == 4
    assert all(
        re.search(r"not found; expected .* Clone https://github.com/ChantalMP/Rad-ReStruct", line) for line in lines
    )
    assert not SOURCE.present(tmp_path)
