import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.sources.radgraph import ENTITIES, REPORTS, SOURCE
from tests.rows.test_radgraph import EDEMA, report, write_release

KEY = "p19/p19999999/s59999901.txt"


def read(root):
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())


def test_the_tables_hold_what_the_files_hold(tmp_path):
    planted = synth.write("radgraph", tmp_path / "radgraph", studies=120, images=False)
    tables = read(tmp_path / "radgraph")
    assert tables["reports"].schema.equals(REPORTS.schema)
    assert tables["entities"].schema.equals(ENTITIES.schema)
    reports = {row["report"]: row for row in tables["reports"].to_pylist()}
    (row,) = planted.counts.values()
    assert len(reports) == sum(counts.examples for counts in row.values())  # the machine-made graphs are not read
    assert {row["release_split"] for row in reports.values()} == {"train", "val", "test"}
    marked = {"agreed": set(), "labeler_1": set(), "labeler_2": set()}
    for entity in tables["entities"].to_pylist():
        tokens = reports[entity["report"]]["text"].split(" ")
        assert " ".join(tokens[entity["start"] : entity["end"] + 1]) == entity["tokens"]
        marked[entity["annotator"]].add(entity["report"])
    twice = [key for key, report in reports.items() if report["annotator"] == "labeler_1"]
    assert len(twice) == planted.distractors["reports_with_two_annotations"]
    assert set(twice) >= marked["labeler_1"] >= marked["labeler_2"]
    assert len(set(reports) - marked["agreed"] - marked["labeler_1"]) == planted.distractors["reports_without_entities"]


def test_keys_say_whose_report_it_is(tmp_path):
    write_release(tmp_path, train={KEY: report()}, test={"7": report("CheXpert"), "s59999902.txt": report()})
    rows = {row["report"]: row for row in read(tmp_path)["reports"].to_pylist()}
    found = {key: (row["data_source"], row["study"], row["patient"]) for key, row in rows.items()}
    assert found == {
        KEY: ("MIMIC-CXR", "s59999901", "p19999999"),
        "7": ("CheXpert", None, None),
        "s59999902.txt": ("MIMIC-CXR", "s59999902", None),
    }
    assert rows[KEY]["origin"] == f"train.json:{KEY}"


def test_relations_are_kept(tmp_path):
    write_release(tmp_path, train={KEY: report()})
    rows = {row["entity"]: row["relations"] for row in read(tmp_path)["entities"].to_pylist()}
    assert rows["2"] == [{"type": "located_at", "target": "1"}]
    assert list(rows) == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (report("CheXpert"), "data_source is 'CheXpert', but the key is that of a MIMIC-CXR report"),
        ({"text": "No .", "data_source": "MIMIC-CXR"}, "no entities, neither in the report nor below labeler_1"),
        ({"entities": {}}, "no text; expected an object with text, entities and data_source"),
        (report(entities={"1": {**EDEMA, "label": "OBS"}}), "agreed, entity 1: label is 'OBS'; expected ANAT-DP"),
        (report(entities={"1": {"label": "OBS-U"}}), "agreed, entity 1: tokens is None; expected a text"),
        (report(entities={"1": {**EDEMA, "start_ix": "7"}}), "start_ix is '7'; expected the number of a token"),
        (report(entities={"1": {**EDEMA, "start_ix": -1}}), "start_ix is -1; expected the number of a token"),
        (report(entities={"1": {**EDEMA, "end_ix": 2**40}}), "end_ix is 1099511627776; expected the number of a token"),
        (report(entities={"1": {**EDEMA, "relations": [["modify", "9"]]}}), r"relation \['modify', '9'\] leads to no"),
        (report(entities={"1": {**EDEMA, "relations": [["modify"]]}}), r"relation \['modify'\] leads to no entity"),
        (report(entities={"1": {**EDEMA, "relations": [["modify", ["1"]]]}}), r"relation .* leads to no entity"),
        (report(entities={"1": "edema"}), "agreed, entity 1: expected an object, found str"),
    ],
)
def test_a_report_of_another_form_is_named(tmp_path, record, message):
    write_release(tmp_path, dev={KEY: record})
    with pytest.raises(DataError, match=rf"dev\.json:1: report '{KEY}'.*{message}"):
        read(tmp_path)


def test_a_rarer_fault_is_told_with_its_file(tmp_path):
    write_release(tmp_path, dev={KEY: {**report(), "labeler_2": ["1"]}})
    with pytest.raises(DataError, match=r"dev\.json:1: Expected `object \| null`, got `array` - at"):
        read(tmp_path)


def test_files_of_another_form_and_reports_in_two_files_are_refused(tmp_path):
    write_release(tmp_path, train={KEY: report()}, test={KEY: report()})
    with pytest.raises(DataError, match=rf"test\.json:1: report '{KEY}' stands also in train\.json"):
        read(tmp_path)
    (tmp_path / "test.json").write_text("[]")
    with pytest.raises(DataError, match=r"test\.json:1: expected \{report key: report\}, found list"):
        read(tmp_path)
    (tmp_path / "test.json").unlink()
    with pytest.raises(DataError, match=r"test not found; expected test\.json .*radgraph on PhysioNet"):
        read(tmp_path)
