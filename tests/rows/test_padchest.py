import pytest

from instruct import synth
from instruct.synth import padchest

from .checks import assert_as_planted, assert_expected_of_real_files, build, corpus, records

SOURCE, TASK = "padchest", "Image Classification"
META = {"unchanged", "suboptimal study", "exclude"}


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (90, 2)])
def test_counts_are_the_planted_ones(tmp_path, studies, seed):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    assert planted.counts["[Image Classification] [PadChest]"]["train"].examples > studies / 2


def test_images_may_lie_flat_and_the_table_may_be_packed(tmp_path):
    planted = padchest.write(tmp_path / "data" / SOURCE, studies=30, packed=True)
    images = tmp_path / "data" / SOURCE / "images"
    for path in list(images.glob("*/*.png")):
        path.rename(images / path.name)
    for path in images.iterdir():
        if path.is_dir():
            path.rmdir()
    assert_as_planted(build(tmp_path, SOURCE), planted)


def test_options_are_the_answers_and_ten_others(tmp_path):
    planted, tables = corpus(tmp_path, SOURCE, 200)
    found = records(tables, SOURCE, TASK)
    for row in found.values():
        options, answers = row["options"], row["answers"]
        assert len(options) == len(set(options)) == len(answers) + min(10, len(options) - len(answers)) <= 26
        assert len(options) >= len(answers) + 8
        assert set(answers) <= set(options)
        assert not set(options) & {"", *META}
        assert all(label == label.strip() for label in options)
    assert max(len(row["answers"]) for row in found.values()) == 16
    traps = planted.distractors
    left_out = ("blank_labels", "empty_label_only", "meta_label_only", "too_many_labels")
    assert len(found) == 200 - sum(traps[f"studies_with_{name}"] for name in left_out)
    # The other options depend on the study and the recipe's seed alone.
    again, other = records(tables, SOURCE, TASK), records(tables, SOURCE, TASK, seed=1)
    assert again == found
    assert sum(set(other[name]["options"]) != set(row["options"]) for name, row in found.items()) > 100


def test_studies_show_all_images_by_view(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 200)
    order = {row["file"]: (row["view_rank"], row["image"]) for row in tables["images"].to_pylist()}
    studies = {}
    for row in tables["images"].to_pylist():
        studies.setdefault(row["study"], []).append(row["file"])
    for name, row in records(tables, SOURCE, TASK).items():
        assert row["images"] == sorted(studies[name], key=order.__getitem__)
        assert row["split"] == "train"
        assert row["studies"] == [name]


def test_real_files(shared_data):
    assert_expected_of_real_files(shared_data, SOURCE, (TASK,))
