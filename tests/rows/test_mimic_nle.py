import pytest

from instruct.synth.mimic_cxr_corpus import corpus
from tests.rows.linked import assert_counts_as_planted, corpus_tables, made_up_tables, records

TASK = "Natural Language Explanation"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (90, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    assert_counts_as_planted(tmp_path, "mimic_nle", studies, seed)


def test_a_sentence_shows_all_images_of_its_study_in_view_order(tmp_path):
    tables = corpus_tables(tmp_path, "mimic_nle")
    written = {study.study: study for study in corpus(60)}
    found = records(tables, TASK, "mimic_nle")
    given = {row["sentence"]: row for row in tables["mimic_nle"]["explanations"].to_pylist()}
    for key, row in found.items():
        study = written[key.partition("#")[0]]
        assert row["images"] == [picture.path for picture in study.images]
        assert row["split"] == {"validate": "val"}.get(study.split, study.split)
        worded = {"Pleural Other": "Other Pleural Disease"}
        assert row["diagnoses"] == [worded.get(label, label) for label in given[key]["diagnoses"]]
    assert any(given[key]["release_split"] != row["split"] for key, row in found.items())
    assert any("Pleural Other" in row["diagnoses"] for row in given.values())


@pytest.mark.parametrize(
    ("text", "rule", "kept"),
    [
        ("Opacity may reflect pneumonia.", "substring", True),
        ("New opacity may reflect pneumonia.", "substring", False),
        ("Opacity against the hilum may reflect pneumonia.", "substring", False),
        ("Opacity against the hilum may reflect pneumonia.", "word", True),
    ],
)
def test_sentences_of_change_are_left_out(text, rule, kept):
    row = {
        "sentence": "s50000001#1", "study": "s50000001", "patient": "p10000001", "diagnoses": ["Pneumonia"],
        "evidence": [], "image_labels": [], "explanation": text, "release_split": "train", "origin": "x:1",
    }  # fmt: skip
    study = {"study": "s50000001", "patient": "p10000001", "split": "test", "images": ["a.jpg"], "origin": "x:1"}
    tables = made_up_tables(mimic_nle__explanations=[row], mimic_cxr__studies=[study])
    assert len(records(tables, TASK, "mimic_nle", mentions_change=rule)) == kept
