import numpy as np
import pytest

from instruct import synth
from instruct.polygons import fill
from instruct.prompts.dialect import read_boxes, read_polygons
from instruct.regions import decode_mask

from .builds import examples, prompt_and_answer
from .checks import assert_as_planted, assert_expected_of_real_files, build, corpus, records

SOURCE, TASK = "siim", "Pneumothorax Segmentation"
ROW = "[Pneumothorax Segmentation] [SIIM]"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (50, 3)])
def test_counts_are_the_planted_ones(tmp_path, studies, seed):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    assert all(counts.examples for counts in planted.counts[ROW].values())


def test_an_image_lies_in_one_split_with_all_its_masks(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 200)
    found = records(tables, SOURCE, TASK)
    masks = {}
    for mask in tables["masks"].to_pylist():
        masks.setdefault(mask["image_id"], []).append(mask)
    assert set(found) == set(tables["images"]["image_id"].to_pylist())
    for name, row in found.items():
        assert row["studies"] == [name] and row["patient"] is None
        wanted = masks.get(name, [])
        assert [region["mask"] for region in row["regions"]] == [mask["mask"] for mask in wanted]
        assert [region["box"] for region in row["regions"]] == [mask["box"] for mask in wanted]
        assert all(region["size"] == [1024, 1024] and region["image"] == 0 for region in row["regions"])


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 100)
    turned = {name: table.take(list(reversed(range(len(table))))) for name, table in tables.items()}
    splits = {name: row["split"] for name, row in records(tables, SOURCE, TASK).items()}
    assert splits == {name: row["split"] for name, row in records(turned, SOURCE, TASK).items()}
    other = {name: row["split"] for name, row in records(tables, SOURCE, TASK, seed=1).items()}
    assert splits != other
    assert sorted(splits.values()) == sorted(other.values())


def test_answers_hold_the_planted_masks(tmp_path):
    synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=60)
    outlined = boxed = empty = 0
    for example in examples(build(tmp_path, SOURCE)):
        question, answer = prompt_and_answer(example)
        if not example["regions"]:
            assert answer == "none"
            empty += 1
        elif "polygon" in question.lower() or question == "<image>":
            planted = np.any([decode_mask(region["mask"], 1024, 1024) for region in example["regions"]], axis=0)
            found = fill([one.points for one in read_polygons(answer, "thousand")], 1024, 1024)
            assert (found & planted).sum() / (found | planted).sum() > 0.9
            outlined += 1
        else:
            found = [one.box for one in read_boxes(answer, "thousand")]
            assert np.abs(np.array(found) - [region["box"] for region in example["regions"]]).max() <= 1 / 2000 + 1e-9
            boxed += 1
    assert outlined and boxed and empty


def test_real_files(shared_data):
    assert_expected_of_real_files(shared_data, SOURCE, (TASK,))
