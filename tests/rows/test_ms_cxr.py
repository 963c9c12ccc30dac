import re

import pytest

from instruct.errors import DataError
from instruct.synth.mimic_cxr_corpus import corpus
from tests.rows.linked import assert_counts_as_planted, corpus_tables, made_up_tables, records

TASKS = ("Phrase Grounding", "Grounded Captioning", "Grounded Diagnosis", "Grounded Phrase Extraction")


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (90, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    assert_counts_as_planted(tmp_path, "ms_cxr", studies, seed)


def box(phrase, category, x, number, **more):
    row = {
        "number": number, "image": "p10/p10000001/s50000001/a.jpg", "dicom_id": "a", "study": "s50000001",
        "patient": "p10000001", "category": category, "phrase": phrase, "first_box": number, "x": x, "y": 10.0,
        "w": 20.0, "h": 30.0, "image_width": 100, "image_height": 200, "origin": f"file.csv:{number}",
    }  # fmt: skip
    return row | more


def study(name="s50000001", split="val", **sections):
    return {"study": name, "patient": "p10000001", "split": split, "images": ["a.jpg"], "origin": "x:1"} | sections


def test_boxes_of_a_phrase_stay_together_and_are_shares_of_the_image():
    tables = made_up_tables(
        ms_cxr__boxes=[
            box("opacity", "Pneumonia", 50.0, 1),
            box("effusion", "Pleural Effusion", 90.0, 2),  # 20 wide: reaches over the right edge
            box("opacity", "Pneumonia", 5.0, 3, y=-4.0, first_box=1),
        ],
        mimic_cxr__studies=[study()],
    )
    found = records(tables, "Phrase Grounding", "ms_cxr")
    assert {key: (row["phrase"], row["split"], row["studies"]) for key, row in found.items()} == {
        "a#1": ("opacity", "val", ["s50000001"]),
        "a#2": ("effusion", "val", ["s50000001"]),
    }
    assert [region["box"] for region in found["a#1"]["regions"]] == [[0.05, 0, 0.25, 0.13], [0.5, 0.05, 0.7, 0.2]]
    assert [region["box"] for region in found["a#2"]["regions"]] == [[0.9, 0.05, 1, 0.2]]
    assert found["a#1"]["regions"][0]["size"] == [200, 100]
    assert found["a#1"]["origin"] == "file.csv:1"


def test_a_phrase_of_two_categories_is_one_record_that_names_both():
    categories = ("Pneumonia", "Consolidation")
    rows = [box("opacity", name, 50.0, number, first_box=1) for number, name in enumerate(categories, 1)]
    tables = made_up_tables(ms_cxr__boxes=rows, mimic_cxr__studies=[study()])
    (found,) = records(tables, "Grounded Diagnosis", "ms_cxr").values()
    assert found["label"] == "Consolidation and Pneumonia"
    assert len(found["regions"]) == 1


@pytest.mark.parametrize(
    ("sections", "shown"),
    [
        ({"findings": "There is a faint\n opacity.", "impression": "faint opacity"}, "There is a faint opacity."),
        ({"findings": "Clear.", "impression": "A faint  opacity."}, "A faint opacity."),
        ({"last_paragraph": "faint opacity", "comparison": "faint opacity, 2 days ago"}, "faint opacity"),
        ({"comparison": "faint opacity, 2 days ago"}, "faint opacity, 2 days ago"),
        ({"findings": "Faint opacity."}, None),  # capitals count
        ({}, None),
    ],
)
def test_the_report_section_that_holds_the_phrase_is_shown(sections, shown):
    tables = made_up_tables(
        ms_cxr__boxes=[box("faint opacity", "Pneumonia", 50.0, 1)], mimic_cxr__studies=[study(**sections)]
    )
    found = records(tables, "Grounded Phrase Extraction", "ms_cxr")
    assert [row["report"] for row in found.values()] == ([shown] if shown else [])


def test_every_task_follows_the_official_split(tmp_path):
    tables = corpus_tables(tmp_path, "ms_cxr")
    written = {study.study: study for study in corpus(60)}
    own = {row["image"]: row["release_split"] for row in tables["ms_cxr"]["boxes"].to_pylist()}
    for task in TASKS:
        found = records(tables, task, "ms_cxr")
        for row in found.values():
            (name,), (image,) = row["studies"], row["images"]
            assert row["split"] == {"validate": "val"}.get(written[name].split, written[name].split)
            assert row["patient"] == written[name].patient
            assert image in {picture.path for picture in written[name].images}
        assert any(own[row["images"][0]] != row["split"] for row in found.values())


def test_extracted_phrases_stand_in_the_report(tmp_path):
    tables = corpus_tables(tmp_path, "ms_cxr")
    reports = {row["study"]: row for row in tables["mimic_cxr"]["studies"].to_pylist()}
    every = records(tables, "Phrase Grounding", "ms_cxr")
    found = records(tables, "Grounded Phrase Extraction", "ms_cxr")
    for key, row in every.items():
        sections = [reports[row["studies"][0]][name] for name in ("findings", "impression", "last_paragraph")]
        texts = [re.sub(r"\s+", " ", text) for text in sections if text]
        assert (key in found) == any(row["phrase"] in text for text in texts)
        assert key not in found or row["phrase"] in found[key]["report"]


def test_a_study_that_mimic_cxr_does_not_have_is_refused():
    tables = made_up_tables(ms_cxr__boxes=[box("x", "Edema", 1.0, 1)], mimic_cxr__studies=[study("s59999999")])
    with pytest.raises(DataError, match="record 'a#1' has split None"):
        records(tables, "Phrase Grounding", "ms_cxr")
