import json

import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources import get_source
from instruct.sources.mimic_nle import CERTAINTIES, CLASSES

SOURCE = get_source("mimic_nle")


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())["explanations"].to_pylist()


@pytest.fixture
def root(tmp_path):
    synth.write("mimic_nle", tmp_path / "nle", studies=30, images=False)
    return tmp_path / "nle"


def file(root, name="train"):
    return root / "mimic-nle" / f"mimic-nle-{name}.json"


def change(root, number=1, **fields):
    lines = [json.loads(line) for line in file(root).read_text().splitlines()]
    lines[number].update(fields)
    kept = [{key: value for key, value in line.items() if value != "drop"} for line in lines]
    file(root).write_text("".join(json.dumps(line) + "\n" for line in kept))


def test_every_sentence_of_the_three_files(root):
    found = read(root)
    for name, split in (("train", "train"), ("dev", "val"), ("test", "test")):
        written = [json.loads(line) for line in file(root, name).read_text().splitlines()]
        here = [row for row in found if row["release_split"] == split]
        for number, (line, row) in enumerate(zip(written, here, strict=True), 1):
            assert (row["sentence"], row["explanation"]) == (line["sentence_ID"], line["nle"])
            assert (row["study"], row["patient"]) == (line["report_ID"], line["patient_ID"])
            assert row["diagnoses"] == [c for c, flag in zip(CLASSES, line["diagnosis_label"], strict=True) if flag]
            assert row["evidence"] == [c for c, flag in zip(CLASSES, line["evidence_label"], strict=True) if flag]
            certain = [CERTAINTIES[triple.index(1)] for triple in line["img_labels"]]
            assert row["image_labels"] == list(zip(CLASSES, certain, strict=True))
            assert row["origin"] == f"mimic-nle/mimic-nle-{name}.json:{number}"


def test_reading_twice_gives_the_same(root):
    assert read(root) == read(root)


def test_an_empty_file_has_no_sentences(root):
    file(root, "dev").write_text("")
    assert {row["release_split"] for row in read(root)} == {"train", "test"}


def test_query_files_alone_are_not_enough(root):
    for name in ("train", "dev", "test"):
        file(root, name).unlink()
    with pytest.raises(DataError, match=r"mimic-nle-train.json .*run its extract_mimic_nle.py"):
        SOURCE.find(root)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nle": "drop"}, r"train.json:2: Object missing required field `nle` \(query lines have no text"),
        ({"nle": " "}, "train.json:2: nle is ' '; expected a text"),
        ({"report_ID": "s17"}, "train.json:2: report_ID is 's17'"),
        ({"diagnosis_label": [1, 0]}, r"train.json:2: diagnosis_label is \[1, 0\]; expected 10 numbers"),
        ({"evidence_label": [2] * 10}, "train.json:2: evidence_label"),
        ({"evidence_label": ["yes"] * 10}, r"train.json:2: evidence_label is \[.yes., .*; expected 10 numbers"),
        ({"evidence_label": "yes"}, "train.json:2: evidence_label is .yes.; expected 10 numbers"),
        ({"evidence_label": [10, *[0] * 8]}, "train.json:2: evidence_label"),
        ({"evidence_label": [*[0] * 9, -1]}, "train.json:2: evidence_label"),
        ({"evidence_label": [[0] * 10]}, "train.json:2: evidence_label"),
        ({"img_labels": [[1, 1, 0]] * 10}, r"train.json:2: img_labels .*; expected 10 x 3 numbers"),
        ({"img_labels": [[1, 0]] * 10}, "train.json:2: img_labels"),
    ],
)
def test_a_faulty_line_is_refused(root, fields, message):
    change(root, **fields)
    with pytest.raises(DataError, match=message):
        read(root)


def test_a_line_that_is_no_object_or_no_json_is_refused(root):
    lines = file(root).read_text()
    number = lines.count("\n") + 2
    for line, message in (("[1]", "Expected `object`, got `array`"), ('{"nle": "a', "malformed JSON: ")):
        file(root).write_text(f"{lines}\n{line}\n")
        with pytest.raises(DataError, match=rf"train.json:{number}: {message}"):
            read(root)


def test_blank_lines_blanks_and_line_breaks_are_no_matter(root):
    before = read(root)
    lines = [json.loads(line) for line in file(root).read_text().splitlines()]
    lines[0]["nle"] = "\n " + lines[0]["nle"].replace(" ", " \n\t")
    file(root).write_text("\n" + "\n\r\n".join(json.dumps(line, separators=(" ,  ", " : ")) for line in lines))
    for row, same in zip(read(root), before, strict=True):
        assert {**row, "origin": None} == {**same, "origin": None}
    assert read(root)[1]["origin"] == "mimic-nle/mimic-nle-train.json:4"
