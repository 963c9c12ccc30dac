from pathlib import Path

import pyarrow.compute as pc
import pytest

from instruct import synth
from instruct.api import build_dataset
from instruct.errors import DataError
from instruct.sources import get_source
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import load_task_specs
from instruct.synth.cxr_lt import NEW_CLASSES
from instruct.synth.mimic_cxr import corpus

ROW = "[Image Classification] [CXR-LT]"
(ENTRY,) = [entry for entry in load_task_specs() if entry.spec.source == "cxr_lt"]
SOURCE, MIMIC = get_source("cxr_lt"), get_source("mimic_cxr")


def build(tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("name: lt\nsources: {cxr_lt: {}}\nimages: {missing: drop}\nmax_bad: 0\n")
    return build_dataset(recipe, tmp_path / "out", data_root=tmp_path / "data")


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (130, 3)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    planted = synth.write("cxr_lt", tmp_path / "data" / "cxr_lt", studies=studies, seed=seed)
    rows = build(tmp_path).counts.rows
    assert set(rows) == set(planted.counts) == {ROW}
    for split, counts in planted.counts[ROW].items():
        found = rows[ROW][split]
        assert (found.examples, found.images, found.studies) == (counts.examples, counts.images, counts.studies)
        assert counts.examples > 0


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows")
    synth.write("cxr_lt", root / "cxr_lt", studies=120, images=False)
    return {
        source.name: source.tables_of(source.find(root / source.name), source.options()) for source in (SOURCE, MIMIC)
    }


def records(tables):
    with RecordQueries(SOURCE, tables, reads=[MIMIC]) as queries:
        batches = list(queries.records(ENTRY, [], 10_000))
    return {row["id"]: row for batch in batches for row in batch.to_pylist()}


def test_studies_keep_their_official_split_and_all_their_images(tables):
    found = records(tables)
    written = {study.study: study for study in corpus(120)}
    for name, row in found.items():
        assert row["split"] == {"validate": "val"}.get(written[name].split, written[name].split)
        assert row["patient"] == written[name].patient
        assert row["images"] == [picture.path for picture in written[name].images]
        assert sorted(row["options"]) == sorted(NEW_CLASSES)
    assert {row["split"] for row in found.values()} == {"train", "val", "test"}


def test_the_first_row_of_a_study_counts(tables):
    first, differs = {}, set()
    for row in tables["cxr_lt"]["images"].to_pylist():
        if row["study"] is not None:
            labels = first.setdefault(row["study"], row["labels"])
            differs |= {row["study"]} if labels != row["labels"] else set()
    expected = {study: set(labels) & set(NEW_CLASSES) for study, labels in first.items()}
    assert {name: set(row["answers"]) for name, row in records(tables).items()} == {
        study: labels for study, labels in expected.items() if labels
    }
    assert differs


def test_a_study_that_mimic_cxr_does_not_have_is_refused(tables):
    name = next(iter(records(tables)))
    studies = tables["mimic_cxr"]["studies"]
    fewer = studies.filter(pc.not_equal(studies["study"], name))
    with pytest.raises(DataError, match=f"record '{name}' has split None"):
        records({**tables, "mimic_cxr": {**tables["mimic_cxr"], "studies": fewer}})
