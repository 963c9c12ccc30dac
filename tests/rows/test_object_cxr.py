import pytest

from instruct import synth
from instruct.errors import DataError
from instruct.prompts.dialect import read_boxes

from .builds import examples, prompt_and_answer
from .checks import assert_as_planted, assert_expected_of_real_files, build

SOURCE, TASK = "object_cxr", "Foreign Object Detection"
ROW = "[Foreign Object Detection] [Object-CXR]"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (80, 3)])
def test_counts_are_the_planted_ones(tmp_path, studies, seed):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    assert planted.counts[ROW]["train"].examples and planted.counts[ROW]["val"].examples


def test_answers_hold_every_object_inside_the_image(tmp_path):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=60)
    boxes = empty = 0
    for example in examples(build(tmp_path, SOURCE)):
        _, answer = prompt_and_answer(example)
        found = read_boxes(answer, "thousand")
        assert len(found) == len(example["regions"])
        assert {region["label"] for region in example["regions"]} <= {"foreign object"}
        assert all(0 <= value <= 1 for region in example["regions"] for value in region["box"])
        boxes += len(found)
        empty += answer == "none"
    assert boxes == sum(planted.distractors[f"objects_{shape}"] for shape in ("rectangle", "ellipse", "polygon"))
    assert empty == planted.distractors["images_without_objects"]


def test_objects_of_images_that_are_not_there_stop_the_build(tmp_path):
    root = tmp_path / "data" / SOURCE
    synth.write(SOURCE, root, studies=30)
    (root / "train" / "00001.jpg").unlink()
    for path in sorted((root / "train").iterdir()):
        path.unlink()
    with pytest.raises(DataError, match=r"template_error.*has no box: the size of its image is not known"):
        build(tmp_path, SOURCE, missing="keep")


def test_real_files(shared_data):
    assert_expected_of_real_files(shared_data, SOURCE, (TASK,))
