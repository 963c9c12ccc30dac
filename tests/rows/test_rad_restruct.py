import json
from pathlib import Path

import pytest

from instruct import synth
from instruct.api import build_dataset
from instruct.errors import DataError
from instruct.specs.task_spec import load_task_specs
from tests.rows.builds import assert_as_planted, examples, records, write_and_build
from tests.rows.linked import build

OPEN, CLOSED = "Open-Ended VQA", "Close-Ended VQA"
EXPECT = {e.task.task: e.task.expect for e in load_task_specs() if e.spec.source == "rad_restruct"}

TOP = ["Is anything odd in the lung?", ["yes"]]
SIGN = ["Is the lung too large?", ["yes"]]
QUESTIONS = [
    [*TOP, [], {"answer_type": "single_choice", "options": ["yes", "no"], "path": "lung"}],
    [*SIGN, [TOP], {"answer_type": "single_choice", "options": ["yes", "no"], "path": "lung_size"}],
    [
        "How much?",
        ["mild"],
        [TOP, SIGN],
        {
            "answer_type": "single_choice",
            "options": ["mild", "moderate", "severe", "unspecified"],
            "path": "lung_degree",
        },
    ],
    [
        "Where?",
        ["left", "right"],
        [TOP, SIGN],
        {"answer_type": "multi_choice", "options": ["left", "middle", "right"], "path": "lung_place"},
    ],
]


def write_release(root: Path, **splits: dict[int, list]) -> None:
    """A release with these reports: split to report number to questions."""
    mapping = {}
    for split in ("train", "val", "test"):
        reports = splits.get(split) or {len(mapping) + 1: QUESTIONS[:1]}
        (root / f"{split}_qa_pairs").mkdir(parents=True)
        for number, questions in reports.items():
            (root / f"{split}_qa_pairs" / f"{number}.json").write_text(json.dumps(questions))
            mapping[str(number)] = [f"CXR{number}_IM-0001-1001"]
        (root / f"{split}_ids.json").write_text(json.dumps([str(number) for number in reports]))
    (root / "id_to_img_mapping_frontal_reports.json").write_text(json.dumps(mapping))


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (60, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    planted, result = write_and_build(tmp_path, "rad_restruct", studies, seed)
    assert_as_planted(planted, result)
    assert all(counts.examples for row in planted.counts.values() for counts in row.values())
    for example in examples(result):
        (image, *_) = example["images"]
        assert image["path"].startswith(str(tmp_path / "data" / "openi" / "images"))
        assert example["keys"]["images"][0].startswith("openi/CXR")
        assert example["keys"]["studies"] == [example["keys"]["patient"]]


def test_the_planned_counts_of_the_release(tmp_path):
    planted = synth.write("rad_restruct", tmp_path / "rad_restruct", studies=3955, images=False)
    for row in planted.counts.values():
        assert {split: (n.examples, n.images, n.studies) for split, n in row.items()} == {
            "train": (142340, 2972, 2877),
            "val": (16874, 374, 360),
            "test": (17641, 374, 360),
        }
        assert EXPECT[OPEN] == {split: counts.examples for split, counts in row.items()}
    assert EXPECT[OPEN] == EXPECT[CLOSED]


def test_history_stands_before_the_question(tmp_path):
    write_release(tmp_path / "rad_restruct", val={9001: QUESTIONS})
    found = records(tmp_path, "rad_restruct", OPEN)
    first, _, third, last = [found[f"CXR9001-00{number}"] for number in (1, 2, 3, 4)]
    assert first["question"] == "Is anything odd in the lung?"
    assert third["question"] == ("Q: Is anything odd in the lung? A: yes\nQ: Is the lung too large? A: yes\nHow much?")
    assert (third["answer"], last["answer"]) == ("Mild", "Left, right")
    assert third["studies"] == ["CXR9001"] == [third["patient"]]
    assert third["images"] == ["CXR9001_IM-0001-1001.png"]
    assert third["origin"] == "val_qa_pairs/9001.json:3"


def test_closed_questions_offer_every_option(tmp_path):
    write_release(tmp_path / "rad_restruct", val={9001: QUESTIONS})
    found = records(tmp_path, "rad_restruct", CLOSED)
    last = found["CXR9001-004"]
    assert sorted(last["options"]) == ["left", "middle", "right"]
    assert last["answers"] == ["left", "right"]
    assert last["question"] == records(tmp_path, "rad_restruct", OPEN)["CXR9001-004"]["question"]


def test_validation_is_not_the_test_set(tmp_path):
    write_release(
        tmp_path / "rad_restruct", train={1: QUESTIONS}, val={2: QUESTIONS[:3]}, test={3: QUESTIONS[:1], 4: QUESTIONS}
    )
    for task in (OPEN, CLOSED):
        splits = [record["split"] for record in records(tmp_path, "rad_restruct", task).values()]
        assert {split: splits.count(split) for split in splits} == {"train": 4, "val": 3, "test": 5}


@pytest.mark.parametrize("missing", ["keep", "drop"])
def test_without_openi_the_rows_refer_to_images_that_are_not_there(tmp_path, missing):
    write_release(tmp_path / "data" / "rad_restruct", train={1: QUESTIONS})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"name: rows\nsources: {{rad_restruct: {{}}}}\nimages: {{missing: {missing}}}\n")
    if missing == "drop":
        with pytest.raises(DataError, match="missing_image"):
            build_dataset(recipe, tmp_path / "out", data_root=tmp_path / "data")
    else:
        rows = build_dataset(recipe, tmp_path / "out", data_root=tmp_path / "data").counts.rows
        assert rows["[Open-Ended VQA] [Rad-Restruct]"]["train"].examples == 4


def test_the_images_folder_of_the_release_can_stand_in_for_openi(tmp_path, monkeypatch):
    root = tmp_path / "data" / "rad_restruct"
    write_release(root, train={1: QUESTIONS})
    (root / "images").mkdir()
    for number in (1, 2, 3):
        (root / "images" / f"CXR{number}_IM-0001-1001.png").write_bytes(b"")
    monkeypatch.setenv("CXR_INSTRUCT_ROOT_OPENI", str(root))
    rows = build(tmp_path, "rad_restruct").counts.rows
    assert rows["[Open-Ended VQA] [Rad-Restruct]"]["train"].images == 1
