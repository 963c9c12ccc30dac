import csv

import pytest

from instruct import synth
from instruct.api import build_dataset
from instruct.synth import covidx_cxr3

from .builds import examples
from .checks import assert_as_planted, assert_expected_of_real_files, build, corpus, read, records

SOURCE, TASK = "covidx_cxr3", "Image Classification"
ROW = "[Image Classification] [COVIDX-CXR-3]"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (80, 3)])
def test_counts_are_the_planted_ones(tmp_path, studies, seed):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    assert all(counts.examples for counts in planted.counts[ROW].values())


def test_generation_3_has_no_val(tmp_path):
    planted = covidx_cxr3.write(tmp_path / "data" / SOURCE, studies=40, generation=3)
    assert not (tmp_path / "data" / SOURCE / "val.txt").exists()
    assert_as_planted(build(tmp_path, SOURCE), planted)
    assert planted.counts[ROW]["val"].examples == 0


def test_answers_and_identities(tmp_path):
    planted, tables = corpus(tmp_path, SOURCE, 150)
    labels = {row["image"]: row["label"] for row in tables["images"].to_pylist()}
    found = records(tables, SOURCE, TASK)
    assert set(found) == set(labels)
    for name, row in found.items():
        assert row["images"] == [name]
        assert row["answers"] == [f"COVID-19 {labels[name]}"]
        assert sorted(row["options"]) == ["COVID-19 negative", "COVID-19 positive"]
        if row["namespace"] == SOURCE:
            assert row["studies"] == [name.split("/", 1)[1].rpartition(".")[0]]
    # The published ids end at the first dot and would be fewer.
    assert planted.distractors["names_alike_up_to_first_dot"] >= 2
    assert len({row["studies"][0] for row in found.values()}) == 150
    patients = {
        split: {row["patient"] for row in found.values() if row["split"] == split and row["namespace"] == SOURCE}
        for split in ("train", "test")
    }
    assert not patients["train"] & patients["test"]


def test_an_rsna_image_is_the_study_that_the_rsna_row_has(tmp_path):
    """In the namespace of its upstream, with RSNA's mapping and without; the picture shown is COVIDx's own."""
    _, tables = corpus(tmp_path, SOURCE, 60)
    mappings = [next((tmp_path / name).glob("*mappings_2018.json")) for name in ("rsna", SOURCE)]
    for namespace in ("chestxray14", "rsna"):
        theirs = {
            (row["namespace"], *row["studies"])
            for row in records(read(tmp_path / "rsna", "rsna"), "rsna", TASK).values()
        }
        ours = [row for row in records(tables, SOURCE, TASK).values() if row["namespace"] != SOURCE]
        assert len(ours) == sum(row["source"] == "rsna" for row in tables["images"].to_pylist()) > 0
        assert {row["namespace"] for row in ours} == {namespace}
        for row in ours:
            assert (row["namespace"], *row["studies"]) in theirs
            assert row["patient"] == (row["studies"][0][:8] if namespace == "chestxray14" else None)
        assert {row["image_namespace"] for row in records(tables, SOURCE, TASK).values()} == {SOURCE}
        for mapping in mappings:
            mapping.unlink(missing_ok=True)
        tables = read(tmp_path / SOURCE, SOURCE)


def test_an_examination_of_both_rows_counts_once(tmp_path):
    synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=60, images=False)
    recipe = tmp_path / "both.yaml"
    recipe.write_text("name: both\nsources: {covidx_cxr3: {}, rsna: {}}\nimages: {missing: keep}\naudit: off\n")
    built = build_dataset(recipe, tmp_path / "out", data_root=tmp_path / "data")
    studies = [study for example in examples(built) for study in example["keys"]["studies"]]
    shared = sum(row["source"] == "rsna" for row in read(tmp_path / "data" / SOURCE, SOURCE)["images"].to_pylist())
    assert len(studies) - len(set(studies)) == shared > 0


def test_rsna_images_are_those_of_the_rsna_corpus(tmp_path):
    planted, tables = corpus(tmp_path, SOURCE, 60)
    with (tmp_path / "rsna" / "stage_2_train_labels.csv").open() as file:
        negative = {row["patientId"] for row in csv.DictReader(file) if row["Target"] == "0"}
    linked = [row["image"].rpartition("/")[2][:-4] for row in tables["images"].to_pylist() if row["source"] == "rsna"]
    assert linked and set(linked) <= negative
    assert planted.distractors["source_misspelt_rnsa"] >= 1


def test_real_files(shared_data):
    assert_expected_of_real_files(shared_data, SOURCE, (TASK,))
