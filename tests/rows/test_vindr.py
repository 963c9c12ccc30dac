from collections import Counter

import pytest
from PIL import Image

from instruct import synth
from instruct.prompts.dialect import read_boxes
from instruct.sources.dicom import image_size

from .builds import examples, prompt_and_answer
from .checks import assert_as_planted, assert_expected_of_real_files, build, corpus, records

TASKS = ("Abnormality Detection", "Abnormality Grounding", "Grounded Diagnosis")
ROUNDED = 1 / 2000 + 1e-9
BOTH = pytest.mark.parametrize("source", ["vindr_cxr", "vindr_pcxr"])


@BOTH
@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (120, 3)])
def test_counts_are_the_planted_ones(tmp_path, source, studies, seed):
    planted = synth.write(source, tmp_path / "data" / source, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, source), planted)
    for row in planted.counts.values():
        assert row["train"].examples and row["test"].examples and not row["val"].examples


@BOTH
def test_converted_images_count_as_the_dicom_files_do(tmp_path, source):
    root = tmp_path / "data" / source
    planted = synth.write(source, root, studies=60)
    for path in root.rglob("*.dicom"):
        height, width = image_size(path)
        Image.new("L", (width, height)).save(path.with_suffix(".png"))
        path.unlink()
    assert_as_planted(build(tmp_path, source), planted)


def boxes_of(tables):
    """Image and class to merged boxes."""
    found = {}
    for box in tables["boxes"].to_pylist():
        found.setdefault((box["image_id"], box["label"]), []).append(box)
    return found


@BOTH
def test_detection_takes_images_with_five_boxes_or_fewer(tmp_path, source):
    planted, tables = corpus(tmp_path, source, 150)
    found = records(tables, source, TASKS[0])
    per_image = Counter(box["image_id"] for box in tables["boxes"].to_pylist())
    assert set(found) == {name for name in tables["images"]["image_id"].to_pylist() if per_image[name] <= 5}
    assert 150 - len(found) == planted.distractors["images_with_more_than_five_boxes"] > 0
    for name, row in found.items():
        assert len(row["regions"]) == per_image[name]
        assert row["studies"] == [name] and row["patient"] is None


@BOTH
def test_grounding_asks_as_often_in_vain(tmp_path, source):
    planted, tables = corpus(tmp_path, source, 150)
    found = records(tables, source, TASKS[1], fields=("label",))
    boxes = boxes_of(tables)
    splits = dict(zip(*tables["images"].select(["image_id", "split"]).to_pydict().values(), strict=True))
    positive, negative = Counter(), Counter()
    for identifier, row in found.items():
        name, label = identifier.split("/", 1)
        assert label == row["label"] and splits[name] == row["split"]
        # A question is about the image it shows.
        assert row["studies"] == [name] and row["images"] == [f"{row['split']}/{name}.dicom"]
        if row["regions"]:
            assert len(row["regions"]) == len(boxes[name, label]) <= 2
            positive[row["split"], label] += 1
        else:
            assert (name, label) not in boxes
            negative[row["split"], label] += 1
    assert positive == negative
    asked = [key for key, held in boxes.items() if len(held) <= 2]
    assert positive.total() == len(asked)
    assert len(boxes) - len(asked) == planted.distractors["classes_with_more_than_two_boxes"] > 0


@BOTH
def test_negatives_are_chosen_by_hash_alone(tmp_path, source):
    _, tables = corpus(tmp_path, source, 100)
    turned = {name: table.take(list(reversed(range(len(table))))) for name, table in tables.items()}
    assert set(records(tables, source, TASKS[1])) == set(records(turned, source, TASKS[1]))
    assert set(records(tables, source, TASKS[1])) != set(records(tables, source, TASKS[1], seed=1))


@BOTH
def test_diagnosis_asks_of_every_box_of_the_grounded_classes(tmp_path, source):
    _, tables = corpus(tmp_path, source, 150)
    found = records(tables, source, TASKS[2], fields=("label",))
    wanted = {
        f"{box['image_id']}/{box['label']}/{box['number']}"
        for held in boxes_of(tables).values()
        if len(held) <= 2
        for box in held
    }
    assert set(found) == wanted
    assert all(len(row["regions"]) == 1 and identifier.split("/", 1)[1].startswith(row["label"])
               for identifier, row in found.items())  # fmt: skip


def test_answers_hold_the_boxes(tmp_path):
    synth.write("vindr_cxr", tmp_path / "data" / "vindr_cxr", studies=60)
    seen = Counter()
    for example in examples(build(tmp_path, "vindr_cxr")):
        question, answer = prompt_and_answer(example)
        held = [(region["box"], region["label"]) for region in example["regions"]]
        if example["task"] == TASKS[2]:
            assert answer == held[0][1]
            (read,) = read_boxes(question, "thousand")
            assert read.box == pytest.approx(held[0][0], abs=ROUNDED)
        else:
            found = read_boxes(answer, "thousand")
            assert [one.label for one in found] == [label if example["task"] == TASKS[0] else "" for _, label in held]
            for one, (box, _) in zip(found, held, strict=True):
                assert one.box == pytest.approx(box, abs=ROUNDED)
        seen[example["task"], bool(held)] += 1
    assert len(seen) == 5


@pytest.mark.parametrize("source", ["vindr_cxr"])
def test_real_files(shared_data, source):
    assert_expected_of_real_files(shared_data, source, TASKS)
