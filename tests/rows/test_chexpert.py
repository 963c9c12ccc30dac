import shutil

import numpy as np
import pyarrow as pa
import pytest

from instruct import synth
from instruct.sources import get_source
from instruct.synth import chexpert
from instruct.synth.chexpert_plan import LABELS, VIEW_ORDER, plan_corpus

from .checks import (
    assert_as_planted,
    assert_expected_of_real_files,
    build,
    corpus,
    entry_of,
    numbers,
    read,
    records,
)

SOURCE = "chexpert"
GENERATION = [
    f"{task}{more}" for task in ("Findings Generation", "Impression Generation") for more in ("", " with Indication")
]
PROGRESSION = ["Progression Findings Generation", "Progression Impression Generation"]


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (70, 5)])
def test_counts_are_the_planted_ones_and_only_published_zeros_are_empty(tmp_path, studies, seed):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=studies, seed=seed)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    empty = {
        (row.split("]")[0][1:], split)
        for row, splits in planted.counts.items()
        for split, counts in splits.items()
        if not counts.examples
    }
    assert empty == {
        ("View Classification", "test"),
        *((task, "test") for task in GENERATION),
        *((task, split) for task in PROGRESSION for split in ("val", "test")),
    }


def labelled(root, *rows):
    """A training table of one study per row of labels, written as cells by name."""
    folder = root / SOURCE / "CheXpert-v1.0"
    folder.mkdir(parents=True)
    header = ",".join(("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *LABELS))
    lines = [
        f"CheXpert-v1.0/train/patient{number:05d}/study1/view1_frontal.jpg,Female,60,Frontal,AP,"
        + ",".join(row.get(label, "") for label in LABELS)
        for number, row in enumerate(rows, 1)
    ]
    (folder / "train.csv").write_text("\n".join([header, *lines]) + "\n")
    (folder / "valid.csv").write_text(header + "\n")
    return records(read(root / SOURCE, SOURCE), SOURCE, "Image Classification")


def test_uncertain_labels_are_settled_as_published(tmp_path):
    rows = [{label: "-1.0"} for label in LABELS]
    rows += [{"No Finding": "1.0"}, {"Fracture": "0.0"}, {}, {"Pneumonia": "-1.0", "Edema": "-1.0", "Fracture": "1.0"}]
    found = labelled(tmp_path, *rows)
    answers = {int(name[7:12]): row["answers"] for name, row in found.items()}
    assert answers == {
        LABELS.index("Edema") + 1: ["Edema"],
        LABELS.index("Atelectasis") + 1: ["Atelectasis"],
        LABELS.index("Pleural Effusion") + 1: ["Pleural Effusion"],
        15: ["No Finding"],
        18: ["Edema", "Fracture"],
    }
    # An uncertain label that is no answer is still an option.
    assert all(sorted(row["options"]) == sorted(LABELS) for row in found.values())


def test_a_study_shows_all_its_images_in_the_published_order(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 150)
    written = {study.name: study for study in plan_corpus(0, 150)}
    found = records(tables, SOURCE, "Image Classification")
    for name, row in found.items():
        study = written[name]
        folder = {"val": "valid"}.get(study.split, study.split)
        shown = [f"{folder}/{name}/{picture.name}" for picture in study.in_view_order]
        assert sorted(row["images"]) == sorted(shown)
        if study.split != "test":  # whose views are not published
            assert row["images"] == shown
        assert row["answers"] == [
            label
            for label in LABELS
            if study.values[label] == 1
            or (study.values[label] == -1 and label in ("Atelectasis", "Edema", "Pleural Effusion"))
        ]
    moved = [
        name
        for name in found
        if [VIEW_ORDER.index(p.view) for p in written[name].pictures]
        != sorted(VIEW_ORDER.index(p.view) for p in written[name].pictures)
    ]
    assert len(moved) >= 3


def test_views_are_those_of_the_table_and_rare_ones_are_left_out(tmp_path):
    planted, tables = corpus(tmp_path, SOURCE, 150)
    found = records(tables, SOURCE, "View Classification")
    pictures = {
        f"{study.name}/{picture.name}": picture.view
        for study in plan_corpus(0, 150)
        for picture in study.pictures
        if study.split != "test"
    }
    assert {name.split("/", 1)[1]: row["answers"] for name, row in found.items()} == {
        name: [view or "Lateral"] for name, view in pictures.items() if view not in ("LL", "RL")
    }
    assert planted.distractors["images_ll_or_rl"] >= 2
    assert all(sorted(row["options"]) == ["AP", "Lateral", "PA"] for row in found.values())
    assert all(row["studies"] == ["/".join(name.split("/")[1:3])] for name, row in found.items())


def test_published_number_of_views(tmp_path):
    """223,397 = 223,414 - 16 LL - 1 RL, from the published numbers of each view."""
    schema = get_source(SOURCE).tables["images"].schema
    views = ["AP"] * 161_590 + ["PA"] * 29_420 + ["LL"] * 16 + ["RL"] + [None] * 32_387
    number = len(views)
    assert number == 223_414
    names = pa.array([f"train/patient{k:06d}/study1/view1" for k in range(number)])
    fixed = {"number": 1, "split": "train", "position": 1, "sex": None, "age": None, "patient": "p", "origin": "o"}
    columns = {name: [value] * number for name, value in fixed.items()}
    columns |= {"image": names, "file": names, "study": names, "view": views}
    columns["projection"] = np.where([view is None for view in views], "Lateral", "Frontal").tolist()
    tables = {
        "images": pa.table({name: pa.array(columns[name], schema.field(name).type) for name in schema.names}, schema)
    }
    tables["studies"] = get_source(SOURCE).tables["studies"].schema.empty_table()
    assert numbers(tables, entry_of(SOURCE, "View Classification")) == {"train": 223_397, "val": 0, "test": 0}


def test_targets_are_cleaned_and_missing_history_reads_none(tmp_path):
    _, tables = corpus(tmp_path, SOURCE, 150)
    written = {study.name: study for study in plan_corpus(0, 150)}
    found = records(tables, SOURCE, "Impression Generation with Indication", ("impression", "indication"))
    for name, row in found.items():
        study = written[name]
        assert row["indication"] == (study.history or "None")
        text = row["impression"]
        assert "\n" not in text and "  " not in text
        lower = text.lower()
        assert not any(word in lower for word in ("prior", "previous", "remov", "earlier", "recurrence"))
    plain = next(name for name in found if written[name].impression_kind.value == "plain")
    assert found[plain]["impression"] == written[plain].impression
    assert {row["indication"] for row in found.values()} >= {"None"}


def test_the_prior_of_study_ten_is_study_nine(tmp_path):
    planted, tables = corpus(tmp_path, SOURCE, 150)
    written = {study.name: study for study in plan_corpus(0, 150)}
    found = records(tables, SOURCE, "Progression Impression Generation", ("impression",))
    for name, row in found.items():
        study = written[name]
        prior = written[f"{study.patient}/study{study.number - 1}"]
        assert row["images"] == [f"train/{one.name}/{one.in_view_order[0].name}" for one in (prior, study)]
        assert row["impression"] == study.impression
    assert {written[name].number for name in found} >= {2, 10, 11}
    assert planted.distractors["studies_without_report"]


def test_test_labels_may_be_by_study(tmp_path):
    planted = chexpert.write(tmp_path / "data" / SOURCE, studies=60, groundtruth=True)
    assert_as_planted(build(tmp_path, SOURCE), planted)
    # Without the images on disk their names are not known; each study still counts.
    shutil.rmtree(tmp_path / "data" / SOURCE / chexpert.EDITION / "test")
    found = records(read(tmp_path / "data" / SOURCE, SOURCE), SOURCE, "Image Classification")
    row = planted.counts["[Image Classification] [CheXpert-Public]"]["test"]
    assert sum(record["split"] == "test" for record in found.values()) == row.examples


def test_chexpert_plus_alone_gives_reports_and_views(tmp_path):
    planted = chexpert.write(tmp_path / "data" / SOURCE, studies=60, images=False)
    shutil.rmtree(tmp_path / "data" / SOURCE / chexpert.EDITION)
    (tmp_path / "data" / SOURCE / chexpert.PLUS / "PNG").mkdir()
    rows = build(tmp_path, SOURCE, missing="keep").counts.rows
    for task in (*GENERATION, "Progression Impression Generation"):
        name = f"[{task}] [CheXpert-Public]"
        if not task.startswith("Progression"):
            assert rows[name]["train"].examples == planted.counts[name]["train"].examples
    assert rows["[View Classification] [CheXpert-Public]"]["train"].examples > 30
    assert rows["[Image Classification] [CheXpert-Public]"]["train"].examples == 0
    images = read(tmp_path / "data" / SOURCE, SOURCE)["images"]
    assert {name[-4:] for name in images["file"].to_pylist()} == {".png"}
    assert {name[-4:] for name in images["image"].to_pylist()} == {".jpg"}


def test_without_chexpert_plus_there_are_labels_and_no_reports(tmp_path):
    planted = synth.write(SOURCE, tmp_path / "data" / SOURCE, studies=20)
    shutil.rmtree(tmp_path / "data" / SOURCE / chexpert.PLUS)
    rows = build(tmp_path, SOURCE).counts.rows
    for task in ("Image Classification", "View Classification"):
        name = f"[{task}] [CheXpert-Public]"
        assert [count.examples for count in rows[name].values()] == [
            counts.examples for counts in planted.counts[name].values()
        ]
    assert rows["[Findings Generation] [CheXpert-Public]"]["train"].examples == 0


def test_real_files(shared_data):
    assert_expected_of_real_files(shared_data, SOURCE, ("Image Classification", "View Classification"))
