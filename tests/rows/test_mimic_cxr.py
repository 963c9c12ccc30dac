import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from instruct import synth
from instruct.api import build_dataset
from instruct.sources.mimic_cxr import IMAGES, LABELS, SOURCE, STUDIES
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import load_task_specs
from instruct.synth.mimic_cxr import corpus, pair_images

ENTRIES = {entry.task.task: entry for entry in load_task_specs() if entry.spec.source == "mimic_cxr"}
ROWS = {
    "Image Classification", "View Classification", "Findings Generation", "Findings Generation with Indication",
    "Impression Generation", "Impression Generation with Indication", "Progression Findings Generation",
    "Progression Impression Generation", "Findings Summarization",
}  # fmt: skip


def build(tmp_path: Path, studies: int, seed: int = 0, options: str = "{}"):
    planted = synth.write("mimic_cxr", tmp_path / "data" / "mimic_cxr", studies=studies, seed=seed)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"name: mimic\nsources: {{mimic_cxr: {{options: {options}}}}}\nimages: {{missing: drop}}\nmax_bad: 0\n"
    )
    return planted, build_dataset(recipe, tmp_path / "out", data_root=tmp_path / "data")


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (130, 3)])
def test_counts_equal_what_was_planted(tmp_path, studies, seed):
    planted, result = build(tmp_path, studies, seed)
    assert set(result.counts.rows) == set(planted.counts) == {f"[{row}] [MIMIC-CXR]" for row in ROWS}
    for row, splits in planted.counts.items():
        for split, counts in splits.items():
            found = result.counts.rows[row][split]
            assert (found.examples, found.images, found.studies) == (
                counts.examples, counts.images, counts.studies,
            ), (row, split)  # fmt: skip
            assert counts.examples > 0


def test_the_reports_give_the_sections_that_the_sectioned_file_lacks(tmp_path):
    planted, result = build(tmp_path, 60, options="{sections: reports}")
    row = "[Findings Generation] [MIMIC-CXR]"
    skipped = [study for study in corpus(60) if not study.sectioned and study.sections.findings_kept]
    assert result.counts.rows[row]["train"].examples == planted.counts[row]["train"].examples + len(skipped)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    root = tmp_path_factory.mktemp("rows") / "mimic_cxr"
    synth.write("mimic_cxr", root, studies=200, images=False)
    return SOURCE.tables_of(SOURCE.find(root), SOURCE.options())


def records(tables, task, *fields, **recipe):
    with RecordQueries(SOURCE, {"mimic_cxr": tables}, **recipe) as queries:
        batches = list(queries.records(ENTRIES[task], list(fields), 10_000))
    return {row["id"]: row for batch in batches for row in batch.to_pylist()}


def test_uncertain_labels_are_settled_and_all_fourteen_are_options(tables):
    found = records(tables, "Image Classification")
    settled = ("Atelectasis", "Edema", "Pleural Effusion")
    expected = {}
    for study in corpus(200):
        values = study.labels or {}
        present = {name for name, value in values.items() if value == 1 or (value == -1 and name in settled)}
        if present:
            expected[study.study] = present
    assert {name: set(row["answers"]) for name, row in found.items()} == expected
    assert all(sorted(row["options"]) == sorted(LABELS) for row in found.values())
    uncertain = [study.study for study in corpus(200) if study.labels and -1 in study.labels.values()]
    assert any(name in found for name in uncertain)
    assert any(name not in found for name in uncertain)


def test_of_the_normal_train_studies_fifty_thousand_are_kept(tables):
    def studies(count, split, label):
        columns = {field.name: pa.nulls(count, field.type) for field in STUDIES.schema}
        same = {"patient": "p1", "split": split, "images": ["a.jpg"], "origin": "f:1"}
        same["labels"] = [{"label": label, "value": 1.0}]
        columns |= {
            name: pa.array([value], STUDIES.schema.field(name).type).take(pa.array([0] * count))
            for name, value in same.items()
        }
        columns["study"] = pa.array([f"{split}{label}{k}" for k in range(count)])
        return pa.table(columns, STUDIES.schema)

    many = pa.concat_tables(
        [studies(50_100, "train", "No Finding"), studies(5, "train", "Edema"), studies(9, "val", "No Finding")]
    )
    found = records({"images": IMAGES.schema.empty_table(), "studies": many}, "Image Classification")
    kept = Counter((row["split"], row["answers"][0]) for row in found.values())
    assert kept == {("train", "No Finding"): 50_000, ("train", "Edema"): 5, ("val", "No Finding"): 9}


def test_views_have_three_or_four_choices(tables):
    found = records(tables, "View Classification")
    views = {picture.dicom_id: picture.view for study in corpus(200) for picture in study.images}
    kinds = Counter()
    for name, row in found.items():
        three = len(row["options"]) == 3
        assert set(row["options"]) == {"AP", "PA", "LATERAL"} if three else {"AP", "PA", "LATERAL", "LL"}
        assert row["answers"] == ["LATERAL" if three and views[name] == "LL" else views[name]]
        kinds[three, views[name]] += 1
    assert set(found) == {name for name, view in views.items() if view in ("AP", "PA", "LATERAL", "LL")}
    assert kinds[True, "LL"] > 0
    assert kinds[False, "LL"] > 0
    three = sum(count for (three, _), count in kinds.items() if three)
    assert 0.35 < three / len(found) < 0.65


def test_targets_of_one_study_do_not_speak_of_an_earlier_one(tables):
    for section in ("findings", "impression"):
        task = f"{section.capitalize()} Generation"
        for row in records(tables, task, section).values():
            assert not re.search(r"[Pp]rior|[Pp]revious|[Ee]arlier|\bagain\b|\bnew\b", row[section])
        asked = records(tables, f"{task} with Indication", section, "indication")
        assert 0 < len(asked) < len(records(tables, task, section))
        assert all(any(letter.isalpha() for letter in row["indication"]) for row in asked.values())


def test_progression_shows_one_view_of_prior_and_current(tables):
    written = corpus(200)
    by_name = {study.study: study for study in written}
    found = records(tables, "Progression Findings Generation", "findings")
    for name, row in found.items():
        study = by_name[name]
        before, now = pair_images(written[study.prior], study)
        assert row["images"] == [before.path, now.path]
        assert row["findings"] == study.sections.findings  # not cleaned
    assert any(
        row["images"][0] != written[by_name[name].prior].images[0].path
        or row["images"][1] != by_name[name].images[0].path
        for name, row in found.items()
    )


def test_summaries_leave_out_telephone_calls(tables):
    found = records(tables, "Findings Summarization", "findings", "impression")
    assert not any(mark in row["impression"] for row in found.values() for mark in ("___", "a.m.", "p.m."))
    called = [study for study in corpus(200) if study.sections.impression_clock and study.sections.findings]
    assert called
    assert not {study.study for study in called} & set(found)


def test_another_seed_plants_the_same_counts():
    from instruct.synth.mimic_cxr_counts import planted_counts

    assert planted_counts(corpus(75, 0)) == planted_counts(corpus(75, 4))
    assert {study.study for study in corpus(75, 0)}.isdisjoint(study.study for study in corpus(75, 4))


def test_every_row_is_planted_in_every_split_at_any_size():
    from instruct.synth.mimic_cxr_counts import planted_counts

    for studies in range(20, 60):
        for row, splits in planted_counts(corpus(studies)).items():
            assert all(counts.examples > 0 for counts in splits.values()), (studies, row)
