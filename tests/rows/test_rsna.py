import numpy as np
import pytest
from PIL import Image

from instruct import synth
from instruct.synth import chestxray14, rsna

from .builds import examples
from .checks import assert_as_planted, assert_expected_of_real_files, build, corpus, read, records

SOURCE, TASK = "rsna", "Image Classification"
ROW = "[Image Classification] [RSNA]"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (50, 3)])
def test_counts_are_the_planted_ones(tmp_path, studies, seed):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    assert all(counts.examples for counts in planted.counts[ROW].values())


def test_an_image_is_a_study_of_chestxray14_and_a_file_of_its_own(tmp_path):
    rsna.write(tmp_path / "data" / SOURCE, studies=20)
    names = {path.stem for path in (tmp_path / "data" / "chestxray14" / "images").iterdir()}
    for example in examples(build(tmp_path, SOURCE)):
        keys = example["keys"]
        source, _, study = keys["studies"][0].partition("/")
        assert source == "chestxray14" and study in names
        assert keys["patient"] == f"chestxray14/{study[:8]}"
        assert keys["images"] == [f"rsna/stage_2_train_images/{keys['record']}.dcm"]
        assert example["images"][0]["path"] == str(tmp_path / "data" / keys["images"][0])


def test_images_that_are_not_mapped_are_their_own_studies(tmp_path):
    # The corpus beside holds 25 images only.
    chestxray14.write(tmp_path / "chestxray14", studies=25, images=False)
    _, tables = corpus(tmp_path, SOURCE, 40)
    found = records(tables, SOURCE, TASK)
    own = {name: row for name, row in found.items() if row["namespace"] == "rsna"}
    assert len(own) == 15 and len(found) == 40
    assert all(row["studies"] == [name] and row["patient"] is None for name, row in own.items())
    assert {row["image_namespace"] for row in found.values()} == {"rsna"}
    (tmp_path / SOURCE / rsna.MAPPING).unlink()
    without = records(read(tmp_path / SOURCE, SOURCE), SOURCE, TASK)
    assert {row["namespace"] for row in without.values()} == {"rsna"}
    assert {name: row["split"] for name, row in without.items()} == {name: row["split"] for name, row in found.items()}


def test_answers_follow_the_target(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 60)
    positive = {row["image_id"]: row["pneumonia"] for row in tables["images"].to_pylist()}
    for name, row in records(tables, SOURCE, TASK).items():
        assert row["answers"] == ["Pneumonia" if positive[name] else "No pneumonia"]
        assert sorted(row["options"]) == ["No pneumonia", "Pneumonia"]


def test_pictures_are_those_of_chestxray14(tmp_path):
    rsna.write(tmp_path / SOURCE, studies=20)
    for row in read(tmp_path / SOURCE, SOURCE)["images"].to_pylist()[:5]:
        content = (tmp_path / SOURCE / row["image"]).read_bytes()
        pixels = np.frombuffer(content[-1024 * 1024 :], np.uint8).reshape(1024, 1024)
        with Image.open(tmp_path / "chestxray14" / "images" / row["nih_image"]) as image:
            assert (np.asarray(image.convert("L")) == pixels).all()


def test_real_files(shared_data):
    assert_expected_of_real_files(shared_data, SOURCE, (TASK,))
