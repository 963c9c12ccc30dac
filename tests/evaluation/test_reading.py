import json
import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from instruct.errors import DataError, UsageError
from instruct.evaluation import evaluate, make_pairs, read_predictions, read_references
from instruct.evaluation.sections import section_of_report


def test_rexrank_findings(rexrank_file):
    pairs = read_predictions(rexrank_file)
    assert pairs.ids == ("s1", "s2", "s3", "s4")
    assert pairs.predictions == ("Lungs are clear.", "Mild cardiomegaly with clear lungs.", "", "")
    assert pairs.references[:3] == (
        "The lungs are clear.",
        "Mild cardiomegaly. No pleural effusion.",
        "Small left effusion is present.",
    )
    assert pairs.references[3] is None
    assert pairs.section == "findings"
    assert pairs.scored().ids == ("s1", "s2", "s3")
    assert "3 of 4 predictions were cut to their findings section" in pairs.notes


def test_rexrank_impression_keeps_the_literal_none(rexrank_file):
    pairs = read_predictions(rexrank_file, section="impression")
    assert pairs.predictions == ("No acute disease.", "", "", "Stable chest.")
    assert pairs.references == ("No acute disease.", None, "None.", "Stable chest.")


def test_rexrank_joint_reference_is_worded_as_the_official_script_words_it(rexrank_file):
    pairs = read_predictions(rexrank_file, section="findings+impression")
    assert pairs.predictions[0] == "Findings: Lungs are clear. Impression: No acute disease."
    assert pairs.references[1] == "Findings: Mild cardiomegaly. No pleural effusion. Impression: None"
    assert pairs.references[3] == "Findings: None Impression: Stable chest."


def test_predictions_and_rexrank_references_in_two_files(tmp_path, rexrank_file):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({name: f"text {name}" for name in ("s4", "s3", "s2", "s1")}), encoding="utf-8")
    pairs = read_predictions(path, rexrank_file)
    assert pairs.ids == ("s4", "s3", "s2", "s1")
    assert pairs.references[3] == "The lungs are clear."
    assert read_references(rexrank_file)["s4"] is None


def test_a_whole_report_as_reference_is_cut_as_the_prediction_is(tmp_path):
    report = "Findings: Clear lungs. Impression: Normal chest."
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"a": {"model_prediction": report, "report": report}}), encoding="utf-8")
    references = tmp_path / "r.csv"
    references.write_text(f"study_id,report\na,{report}\n", encoding="utf-8")
    for section, expected in (
        ("findings", "Clear lungs."),
        ("impression", "Normal chest."),
        ("findings+impression", report),
    ):
        for where in (None, references):
            pairs = read_predictions(path, where, section=section)
            assert pairs.predictions == pairs.references == (expected,)


SEEN, MEANT = "Lungs are clear.", "No acute disease."
CUTS = [
    (f"Findings: {SEEN} Impression: {MEANT}", SEEN, MEANT),
    (f"**Findings:** {SEEN} **Impression:** {MEANT}", SEEN, MEANT),
    (f"**FINDINGS**: {SEEN}\n\n**IMPRESSION**:\n{MEANT}", SEEN, MEANT),
    (f"## Findings\n{SEEN}\n\n## Impression\n{MEANT}\n", SEEN, MEANT),
    (f"FINDINGS\n{SEEN}\nIMPRESSION\n{MEANT}", SEEN, MEANT),
    (f"findings : {SEEN} impression : {MEANT}", SEEN, MEANT),
    (f"Chest radiograph, two views. Findings: {SEEN} Impression: {MEANT}", SEEN, MEANT),
    (f"Here is the report:\n\n- Finding: {SEEN}\n- Impressions: {MEANT}", SEEN, MEANT),
    (f"Impression: {MEANT} Findings: {SEEN}", SEEN, MEANT),
    (f"### Impression:\n{MEANT}\n### Findings:\n{SEEN}", SEEN, MEANT),
    (f"Impression: {MEANT} Findings: {SEEN} Impression: again.", SEEN, MEANT),
    ("Findings: clear lungs Impression: None", "clear lungs", "None"),
    (f"Findings: Impression: {MEANT}", "", MEANT),
    (f"{SEEN} Impression: {MEANT}", SEEN, MEANT),
    (f"Findings: {SEEN}", SEEN, ""),
    (f"Impression: {MEANT}", "", MEANT),
    (f"Findings:\n**Lungs:** clear.\nImpression: {MEANT}", "**Lungs:** clear.", MEANT),
    # Prose that has the words: no headers, so the whole is scored as either section.
    *(
        (text, text, text)
        for text in (
            "No acute findings: the lungs are clear.",
            "There are two findings: a nodule and a scar.",
            "Heart size is normal. Other findings: none.",
            "Overall impression: stable chest.",
            "These findings are stable. The impression is unchanged.",
        )
    ),
]


@pytest.mark.parametrize(("text", "findings", "impression"), CUTS)
def test_sections_are_found_by_their_headers_and_not_in_prose(text, findings, impression):
    assert section_of_report(text, "findings") == findings
    assert section_of_report(text, "impression") == impression
    assert section_of_report(text, "findings+impression") == text


@pytest.mark.parametrize("piece", ["\n", "* ", ". ", "# \n", "Findings", "Findings ", "Impression \n", "Impression: "])
def test_cutting_a_text_without_end_takes_no_time(piece):
    section_of_report(piece * 20_000, "findings")


def test_two_csv_files_with_line_breaks_and_missing_cells(tmp_path):
    predictions, references = tmp_path / "p.csv", tmp_path / "r.csv"
    predictions.write_text('study_id,report\n2,"Clear,\nall of it."\n1,\n3,NaN\n', encoding="utf-8")
    references.write_text("study_id,report\n1,One.\n2,Two.\n3,Three.\n", encoding="utf-8")
    pairs = read_predictions(predictions, references)
    assert pairs.ids == ("2", "1", "3")
    assert pairs.predictions == ("Clear,\nall of it.", "", "")
    assert pairs.references == ("Two.", "One.", "Three.")
    assert pairs.section == ""


def test_generation_output_keeps_its_fields_and_groups(jsonl):
    path = jsonl(
        [
            {"id": "a", "task": "T", "dataset": "D", "split": "test", "prediction": "x", "reference": "x"},
            {
                "id": "a",
                "task": "S",
                "dataset": "D",
                "split": "test",
                "prediction": "y",
                "reference": "x",
                "options": ["x"],
            },
            {"id": "b", "task": "T", "dataset": "D", "split": "test", "prediction": None, "reference": "z"},
        ]
    )
    groups = dict(read_predictions(path).groups())
    assert [str(group) for group in groups] == ["S / D / test", "T / D / test"]
    assert [pairs.ids for pairs in groups.values()] == [("a",), ("a", "b")]
    assert next(iter(groups.values())).extras[0]["options"] == ["x"]


def test_json_of_one_text_lists(tmp_path):
    path = tmp_path / "p.json"
    path.write_text('{"7": ["clear ."], "8": ["effusion ."]}', encoding="utf-8")
    assert read_predictions(path, path).references == ("clear .", "effusion .")


BAD = {
    "duplicated.json": (
        '{"a": {"prediction": "x", "reference": "y"}, "a": {"prediction": "z"}}',
        "key 'a' occurs twice",
    ),
    "duplicated.jsonl": (
        '{"id": "a", "prediction": "x", "reference": "y"}\n' * 2,
        r"duplicated.jsonl:2: id 'a' occurs twice, first at .*duplicated.jsonl:1",
    ),
    "broken.json": ('{"a": ', r"broken.json:1:7: not valid JSON"),
    "broken.jsonl": ('{"id": 1, "prediction": "x", "reference": "y"}\n{oops\n', r"broken.jsonl:2:2: not valid JSON"),
    "list.jsonl": ("[1]\n", r"list.jsonl:1: expected an object"),
    "no_id.jsonl": ('{"prediction": "x", "reference": "y"}\n', r"no_id.jsonl:1: no id; expected a field 'id'"),
    "odd_id.jsonl": ('{"id": 1.5, "prediction": "x", "reference": "y"}\n', "id is 1.5; expected a text or an integer"),
    "alone.jsonl": ('{"id": 1, "prediction": "x"}\n', "predictions only; give the references with --references"),
    "number.jsonl": (
        '{"id": 1, "prediction": 3, "reference": "y"}\n',
        "prediction is int; expected a text, null or NaN",
    ),
    "two.jsonl": (
        '{"id": 1, "prediction": ["a", "b"], "reference": "y"}\n',
        "a list of 2; expected one text per study",
    ),
    "no_prediction.jsonl": ('{"id": 1, "reference": "y"}\n', "no prediction; expected a field 'prediction'"),
    "no_truth.jsonl": ('{"id": 1, "prediction": "x", "reference": null}\n', "none of the 1 studies has a reference"),
    "empty.jsonl": ("", "no predictions in the file"),
    "kind.txt": ("x", "unknown kind of file; expected .json"),
    "scalar.json": ("3", "expected an object of id"),
    "endless.jsonl": ("[" * 5000 + "\n", r"endless.jsonl:1: JSON that cannot be read"),
    "digits.json": (f'{{"a": {"1" * 5000}}}', r"digits.json: JSON that cannot be read"),
    "half.jsonl": (
        '{"id": 1, "prediction": "Clear \\ud83d", "reference": "y"}\n',
        r"half.jsonl:1: prediction is no valid Unicode at character 6 .*write the character whole",
    ),
    "half_findings.jsonl": (
        '{"id": 1, "model_prediction": "x", "section_findings": "\\ud83d"}\n',
        r"half_findings.jsonl:1: section_findings is no valid Unicode at character 0",
    ),
    "half_id.jsonl": (
        '{"id": "\\udc00", "prediction": "x", "reference": "y"}\n',
        r"half_id.jsonl:1: id is no valid Uni",
    ),
    "twice.csv": ("id,prediction,reference,reference\n1,x,y,z\n", r"twice.csv:1: column 'reference' occurs twice"),
    "ragged.csv": ("id,prediction,reference\n1,x\n", r"ragged.csv:2: wrong number of cells; expected 3"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_with_place_and_remedy(tmp_path, name):
    text, message = BAD[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_predictions(path)


def test_absent_and_undecodable_files(tmp_path):
    with pytest.raises(DataError, match=r"gone.json: no such file"):
        read_predictions(tmp_path / "gone.json")
    path = tmp_path / "latin.jsonl"
    path.write_bytes(b'{"id": "a", "prediction": "\xe9"}\n')
    with pytest.raises(DataError, match="not UTF-8 text at byte 27"):
        read_predictions(path)


def test_different_ids_are_listed_from_both_sides(jsonl):
    predictions = jsonl([{"id": str(i), "report": "x"} for i in range(8)], "p.jsonl")
    references = jsonl([{"id": str(i), "report": "x"} for i in range(7, 9)], "r.jsonl")
    with pytest.raises(DataError) as caught:
        read_predictions(predictions, references)
    message = str(caught.value)
    assert "7 have no reference: 0, 1, 2, 3, 4 …" in message
    assert "1 have no prediction: 8" in message
    assert "write an empty prediction where the model gave none" in message


def test_unknown_section(rexrank_file):
    with pytest.raises(UsageError, match=r"unknown section 'all'; expected one of findings, impression"):
        read_predictions(rexrank_file, section="all")


def test_pairs_in_memory_follow_the_same_rule():
    with pytest.raises(DataError, match="id 'a' occurs twice in all"):
        make_pairs(["a", "a"], ["x", "y"], ["x", "y"])


def test_pairs_of_unequal_lists():
    with pytest.raises(DataError, match="2 ids, 1 predictions, 2 references"):
        make_pairs(["a", "b"], ["x"], ["y", "z"])
    with pytest.raises(DataError, match="1 ids, 2 predictions, 2 references"):
        make_pairs(["a"], ["x", "y"], ["y", "z"])


def test_damaged_parquet(tmp_path):
    path = tmp_path / "scores.parquet"
    pq.write_table(pa.table({"id": ["a"] * 1000, "prediction": [str(n) for n in range(1000)]}), path)
    whole = path.read_bytes()
    for damaged in (b"", whole[:-8], whole[:200] + b"\xff" * 600 + whole[800:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"scores.parquet: not a Parquet file"):
            read_predictions(path)


def test_nan_in_memory_is_missing_and_other_things_are_no_texts():
    pairs = make_pairs(["a", "b"], [math.nan, "x"], ["y", math.nan])
    assert pairs.predictions == ("", "x")
    assert pairs.references == ("y", None)
    with pytest.raises(DataError, match="prediction 0 is int; expected a text, None or NaN"):
        make_pairs(["a"], [3], ["x"])
    with pytest.raises(DataError, match="reference 0 is int; expected a text, None or NaN"):
        make_pairs(["a"], ["x"], [3])


def test_nan_in_any_field_is_missing(jsonl):
    nan = math.nan
    rows = [{"id": "a", "task": nan, "dataset": nan, "prediction": "x", "reference": "y", "target": nan, "answer": nan}]
    pairs = read_predictions(jsonl(rows))
    ((group, _),) = pairs.groups()
    assert group == ("", "", "")
    assert pairs.extras[0]["target"] is pairs.extras[0]["answer"] is None
    for metric in ("labels", "vqa"):
        report = evaluate(pairs, metrics=metric)
        assert report.parts[0].counts["unparsed_answers"] == 1
    score = evaluate(make_pairs(["a"], ["nan"], ["y"], [{"target": nan}]), metrics="labels").result("label_exact")
    assert score.value == 0
