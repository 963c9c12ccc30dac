import csv

import pytest

from instruct import synth
from instruct.synth import brax

from .checks import assert_as_planted, assert_expected_of_real_files, build, corpus, read, records

SOURCE, TASK = "brax", "Image Classification"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (80, 7)])
def test_counts_are_the_planted_ones(tmp_path, studies, seed):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    row = planted.counts["[Image Classification] [Brax]"]
    assert row["train"].examples and row["test"].examples


def test_an_example_is_a_frontal_and_a_lateral_image(tmp_path):
    planted, tables = corpus(tmp_path, SOURCE, 120)
    images = {row["image"]: row for row in tables["images"].to_pylist()}
    found = records(tables, SOURCE, TASK)
    for name, row in found.items():
        shown = [images[image] for image in row["images"]]
        assert [image["direction"] for image in shown] == ["Frontal", "Lateral"]
        assert {image["study"] for image in shown} == {name}
        others = [image for image in images.values() if image["study"] == name]
        for image in shown:
            alike = [other["view_rank"] for other in others if other["direction"] == image["direction"]]
            assert image["view_rank"] == min(alike)
        assert row["answers"] == [
            item["label"]
            for item in shown[0]["labels"]
            if item["value"] == 1
            or (item["value"] == -1 and item["label"] in ("Atelectasis", "Edema", "Pleural Effusion"))
        ]
        assert len(row["options"]) == 14
    assert planted.distractors["examples_with_uncertain_label_only"] >= 1


def test_test_patients_are_a_fifth_and_keep_all_their_studies(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 120)
    found = records(tables, SOURCE, TASK).values()
    patients = {split: {row["patient"] for row in found if row["split"] == split} for split in ("train", "test")}
    assert not patients["train"] & patients["test"]
    assert len(patients["test"]) == -(-len(patients["train"] | patients["test"]) // 5)


def test_training_keeps_eight_thousand_normal_studies_and_test_all(tmp_path):
    path = tmp_path / SOURCE / brax.SPREADSHEET
    path.parent.mkdir()
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, brax.COLUMNS, restval="")
        writer.writeheader()
        for k in range(11_000):
            labels = {"No Finding": 1.0} if k < 10_600 else {"Edema": -1.0}
            for view in ("PA", "L"):
                image = f"images/id_{k:x}/Study_1.{k}/Series_{view}/image-1.png"
                writer.writerow(
                    {"PngPath": image, "PatientID": f"id_{k:x}", "AccessionNumber": k, "ViewPosition": view} | labels
                )
    rows = records(read(tmp_path / SOURCE, SOURCE), SOURCE, TASK).values()
    found = [(row["split"], row["answers"][0]) for row in rows]
    assert found.count(("train", "No Finding")) == 8_000
    tested = found.count(("test", "No Finding")) + found.count(("test", "Edema"))
    assert tested == 11_000 / 5
    assert found.count(("train", "Edema")) + found.count(("test", "Edema")) == 400


def test_real_files(shared_data):
    assert_expected_of_real_files(shared_data, SOURCE, (TASK,))
