import pytest

from instruct import synth
from instruct.synth.mimic_cxr_corpus import corpus
from tests.rows.linked import assert_counts_as_planted, build, corpus_tables, records

TASK, SENTENCES = "Temporal Image Classification", "Temporal Sentence Similarity"


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (90, 4)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    assert_counts_as_planted(tmp_path, "ms_cxr_t", studies, seed)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    return corpus_tables(tmp_path_factory.mktemp("rows"), "ms_cxr_t")


def test_a_label_is_a_record_of_the_current_study(tables):
    written = {study.study: study for study in corpus(60)}
    found = records(tables, TASK, "ms_cxr_t")
    assert len(found) == len(tables["ms_cxr_t"]["comparisons"])
    for row in found.values():
        (name,), (before, now) = row["studies"], row["images"]
        current = written[name]
        prior = corpus(60)[current.prior]
        assert row["split"] == {"validate": "val"}.get(current.split, current.split)
        assert now in {picture.path for picture in current.images}
        assert before in {picture.path for picture in prior.images}
        assert sorted(row["options"]) == ["improving", "stable", "worsening"]
        assert len(row["answers"]) == 1 and row["answers"][0] in row["options"]
    assert {row["finding"] for row in found.values()} >= {"edema", "pleural effusion"}


def test_sentences_are_test_and_belong_to_no_study_of_mimic_cxr(tables):
    found = records(tables, SENTENCES, "ms_cxr_t")
    assert {row["split"] for row in found.values()} == {"test"}
    assert len({tuple(row["studies"]) for row in found.values()}) == len(found) == 30
    assert {answer for row in found.values() for answer in row["answers"]} == {"paraphrase", "contradiction"}
    assert all(row["patient"] is None for row in found.values())


def test_sentences_need_no_mimic_cxr(tmp_path):
    planted = synth.write("ms_cxr_t", tmp_path / "data" / "ms_cxr_t", studies=20, images=False)
    (tmp_path / "data" / "mimic_cxr").rename(tmp_path / "elsewhere")
    rows = build(tmp_path, "ms_cxr_t").counts.rows
    assert rows[f"[{SENTENCES}] [MS-CXR-T]"]["test"].examples == planted.splits["test"].texts["sentence_1"]
    assert rows[f"[{TASK}] [MS-CXR-T]"]["train"].examples == 0
