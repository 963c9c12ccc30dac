import json

import pytest

from instruct import synth
from instruct.api import build_dataset
from instruct.errors import DataError
from instruct.evaluation.tasks.entities import annotation_of
from instruct.synth.mimic_cxr import corpus
from tests.rows.builds import assert_as_planted, examples, prompt_and_answer, records, the_task, write_and_build

TASK = "Named Entity Recognition"
TEXT = "FINAL REPORT No pleural effusion . Mild edema ."
EDEMA = {"tokens": "edema", "label": "OBS-DP", "start_ix": 7, "end_ix": 7, "relations": []}
ENTITIES = {
    "4": EDEMA,
    "1": {"tokens": "pleural", "label": "ANAT-DP", "start_ix": 3, "end_ix": 3, "relations": []},
    "2": {"tokens": "effusion", "label": "OBS-DA", "start_ix": 4, "end_ix": 4, "relations": [["located_at", "1"]]},
    "3": {"tokens": "Mild", "label": "OBS-U", "start_ix": 6, "end_ix": 6, "relations": [["modify", "4"]]},
}


def report(source="MIMIC-CXR", entities=ENTITIES, **more):
    return {"text": TEXT, "data_split": "train", "data_source": source, "entities": entities, **more}


def write_release(root, **files):
    root.mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev", "test"):
        (root / f"{name}.json").write_text(json.dumps(files.get(name, {})))


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (60, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    planted, result = write_and_build(tmp_path, "radgraph", studies, seed)
    assert_as_planted(planted, result)
    (row,) = planted.counts.values()
    assert all(counts.examples == counts.studies > 0 for counts in row.values())


def test_the_planned_counts_of_the_release(tmp_path):
    (row,) = synth.write("radgraph", tmp_path / "radgraph", studies=1500, images=False).counts.values()
    assert the_task("radgraph").task.expect == {split: counts.examples for split, counts in row.items()}
    assert row["test"].studies == 50


@pytest.fixture
def mimic(tmp_path):
    """A MIMIC-CXR beside the corpus; the key of a report of each of its splits."""
    synth.write("mimic_cxr", tmp_path / "mimic_cxr", studies=20, images=False)
    return {study.split: f"{study.folder}/{study.study}.txt" for study in corpus(20)}


def test_reports_are_split_as_their_studies_and_chexpert_reports_are_test(tmp_path, mimic):
    keys = list(mimic.values())
    write_release(
        tmp_path / "radgraph",
        train={keys[1]: report()},
        dev={keys[0]: report()},
        test={keys[2]: report(), **{str(number): report("CheXpert") for number in range(12)}},
    )
    found = records(tmp_path, "radgraph", TASK)
    assert {found[key]["split"] for key in (mimic["train"],)} == {"train"}
    assert found[mimic["validate"]]["split"] == "val"
    assert found[mimic["test"]]["split"] == "test"
    own = {key: record for key, record in found.items() if "/" not in key}
    assert {record["split"] for record in own.values()} == {"test"}
    assert {(record["namespace"], record["patient"]) for record in own.values()} == {("radgraph", None)}
    assert len({tuple(record["studies"]) for record in own.values()}) == 12
    record = found[mimic["train"]]
    folder, study = mimic["train"].removesuffix(".txt").rsplit("/", 1)
    assert (record["namespace"], record["studies"], record["patient"]) == ("mimic_cxr", [study], folder.split("/")[1])


def test_entities_stand_in_the_order_of_the_text(tmp_path, mimic):
    write_release(tmp_path / "radgraph", train={mimic["train"]: report(), mimic["test"]: report(entities={})})
    found = records(tmp_path, "radgraph", TASK)
    assert found[mimic["train"]]["entities"] == [
        ["pleural", "anatomy"],
        ["effusion", "observation (definitely absent)"],
        ["Mild", "observation (uncertain)"],
        ["edema", "observation (definitely present)"],
    ]
    assert found[mimic["train"]]["text"] == TEXT
    assert found[mimic["test"]]["entities"] == []


def test_the_first_annotator_counts_where_there_are_two_and_the_agreed_one_before_both(tmp_path, mimic):
    first, second = {"entities": {"1": EDEMA}}, {"entities": {}}
    apart = {key: value for key, value in report().items() if key != "entities"}
    write_release(
        tmp_path / "radgraph",
        test={
            mimic["test"]: {**apart, "labeler_2": second, "labeler_1": first},
            mimic["train"]: report(labeler_1=first, labeler_2=second),
        },
    )
    found = records(tmp_path, "radgraph", TASK)
    assert found[mimic["test"]]["entities"] == [["edema", "observation (definitely present)"]]
    assert len(found[mimic["train"]]["entities"]) == 4


def test_a_report_of_an_unknown_study_stops_the_build(tmp_path, mimic):
    write_release(tmp_path / "radgraph", train={"p19/p19999999/s59999901.txt": report()})
    with pytest.raises(DataError, match=r"record 'p19/p19999999/s59999901\.txt' has split None"):
        records(tmp_path, "radgraph", TASK)


def test_without_mimic_cxr_the_row_is_empty_and_says_so(tmp_path):
    synth.write("radgraph", tmp_path / "data" / "radgraph", studies=20, images=False)
    (tmp_path / "data" / "mimic_cxr").rename(tmp_path / "elsewhere")
    synth.write("radnli", tmp_path / "data" / "radnli", studies=20)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: rows\nsources: {radgraph: {}, radnli: {}}\n")
    result = build_dataset(recipe, tmp_path / "out", data_root=tmp_path / "data")
    assert not any(count.examples for count in result.counts.rows["[Named Entity Recognition] [RadGraph]"].values())
    assert "not on disk: mimic_cxr" in (tmp_path / "out" / "counts.md").read_text()


def test_every_wording_answers_with_json_that_the_evaluation_reads(tmp_path):
    _, result = write_and_build(tmp_path, "radgraph", 60)
    variants = set()
    for example in examples(result):
        prompt, answer = prompt_and_answer(example)
        read = annotation_of(answer, {})
        assert read is not None
        for words, kind in read.entities:
            assert words in prompt
            assert kind in "".join(turn["value"] for turn in example["conversations"] if turn["from"] != "gpt")
        variants.add(example["provenance"]["variant"])
    assert len(variants) >= 6
