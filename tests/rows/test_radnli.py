import json

import pytest

from instruct import synth
from instruct.evaluation.tasks.answers import choice_of
from tests.rows.builds import assert_as_planted, examples, prompt_and_answer, records, the_task, write_and_build

TASK = "Natural Language Inference"
PAIRS = {
    "dev": [("1", "contradiction", "There is a small left pneumothorax.", "No pneumothorax.")],
    "test": [
        ("1", "neutral", "Heart size is normal.", "No effusion is seen."),
        ("2", "entailment", "Lungs are clear.", "No focal consolidation."),
    ],
}


def write_release(root, pairs=None):
    root.mkdir(parents=True)
    for name, rows in (pairs or PAIRS).items():
        keys = ("pair_id", "gold_label", "sentence1", "sentence2")
        lines = [json.dumps(dict(zip(keys, row, strict=True))) for row in rows]
        (root / f"radnli_{name}_v1.jsonl").write_text("\n".join(lines) + "\n\n")


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (61, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    planted, result = write_and_build(tmp_path, "radnli", studies, seed)
    assert_as_planted(planted, result)
    (row,) = planted.counts.values()
    assert {split for split, counts in row.items() if counts.examples} == {"val", "test"}


def test_the_planned_counts_of_the_release(tmp_path):
    (row,) = synth.write("radnli", tmp_path / "radnli", studies=960).counts.values()
    assert the_task("radnli").task.expect == {split: row[split].examples for split in ("val", "test")}


def test_the_first_sentence_is_the_premise_and_dev_is_validation(tmp_path):
    write_release(tmp_path / "radnli")
    found = records(tmp_path, "radnli", TASK)
    assert set(found) == {"val/1", "test/1", "test/2"}
    first = found["val/1"]
    assert (first["premise"], first["hypothesis"]) == ("There is a small left pneumothorax.", "No pneumothorax.")
    assert [found[key]["answers"] for key in ("val/1", "test/1", "test/2")] == [
        ["contradiction"], ["neutral"], ["entailment"],
    ]  # fmt: skip
    assert first["patient"] is None
    assert first["origin"] == "radnli_dev_v1.jsonl:1"
    assert len({tuple(record["studies"]) for record in found.values()}) == 3


def test_every_wording_answers_with_the_right_choice(tmp_path):
    _, result = write_and_build(tmp_path, "radnli", 80)
    variants = set()
    for example in examples(result):
        prompt, answer = prompt_and_answer(example)
        assert choice_of(answer, {"options": example["options"]}) == example["answers"][0]
        variants.add(example["provenance"]["variant"])
        assert prompt
    assert len(variants) >= 6
    orders = {tuple(example["options"]) for example in examples(result)}
    assert len(orders) == 6
