import csv
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from instruct.synth import rexgradient
from instruct.synth.planted import Counts

from . import recount

SPLITS = ("train", "val", "test")
PUBLISHED = {
    "[Findings Generation] [REX-Gradient]": ((140000, 140000), (10000, 10000), (10000, 10000)),
    "[Impression Generation] [REX-Gradient]": ((140000, 140000), (10000, 10000), (10000, 10000)),
    "[Progression Findings Generation] [REX-Gradient]": ((28383, 52857), (1950, 3602), (2030, 3756)),
    "[Progression Impression Generation] [REX-Gradient]": ((20126, 37863), (1342, 2500), (1474, 2754)),
    "[Findings Summarization] [REX-Gradient]": ((139904, 0), (9994, 0), (9995, 0)),
}


def check_counts(root, planted):
    """Recount every row, trap and fact of a written corpus."""
    traps, sizes = Counter(), []
    for split in SPLITS:
        records = recount.rex_records(root, split)
        rows, split_traps = recount.rex(records)
        traps += split_traps
        for row, splits in planted.counts.items():
            assert (splits[split].examples, splits[split].images, splits[split].studies) == rows[row], (row, split)
        assert rows.keys() == planted.counts.keys()
        facts = planted.splits[split]
        assert facts.studies == len(records)
        assert facts.images == sum(len(r["ImagePath"]) for r in records.values())
        assert facts.patients == len({r["PatientID"] for r in records.values()})
        for section in ("Indication", "Comparison", "Findings", "Impression"):
            texts = [r[section] for r in records.values() if not recount.missing(r[section])]
            assert facts.words[section.lower()] == sum(len(text.split()) for text in texts)
            assert facts.texts[section.lower()] == len(texts)
        ages = Counter(recount.age_bin(r["PatientAge"]) for r in records.values())
        assert {name: n for name, n in facts.ages.items() if n} == ages
        sexes = Counter(r["PatientSex"] if r["PatientSex"] in ("M", "F") else "unknown" for r in records.values())
        assert {name: n for name, n in facts.sexes.items() if n} == sexes
        assert facts.views == Counter(v or "null" for r in records.values() for v in r["ImageViewPosition"])
        keys = Counter(r["ImageViewPosition"][recount.key_place(r)] or "null" for r in records.values())
        assert facts.key_views == keys
        sizes.append({key: r["PatientID"] for key, r in records.items()})
    assert {name: n for name, n in planted.distractors.items() if n} == {name: n for name, n in traps.items() if n}
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not set(sizes[a]) & set(sizes[b])
        assert not set(sizes[a].values()) & set(sizes[b].values())


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (20, 1), (20, 7), (33, 0), (64, 2), (300, 4), (2000, 0)])
def test_recount_equals_planted(tmp_path, studies, seed):
    planted = rexgradient.write(tmp_path, studies=studies, seed=seed, images=False)
    check_counts(tmp_path, planted)
    assert sum(planted.splits[split].studies for split in SPLITS) == studies
    for splits in planted.counts.values():
        assert all(counts.examples > 0 for counts in splits.values())


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_corpus_has_the_main_traps(tmp_path, seed):
    traps = rexgradient.write(tmp_path, studies=20, seed=seed, images=False).distractors
    for name in (
        "pair_without_keyword",
        "pair_with_keyword_in_findings_not_impression",
        "pair_with_keyword_in_impression_not_findings",
        "pair_findings_substring_trap_degenerative_changes",
        "first_study_with_keyword_in_findings",
        "same_day_pair_ordered_by_missing_comparison",
        "same_day_pair_ordered_by_study_key",
        "impression_unfit_for_summarization",
        "key_image_lateral_listed_first",
        "key_image_without_frontal_label",
        "key_image_only_lateral_or_oblique",
        "study_date_as_string",
    ):
        assert traps[name] >= 1, name


def test_a_middling_corpus_has_every_trap(tmp_path):
    traps = rexgradient.write(tmp_path, studies=1600, images=False).distractors
    assert [name for name, n in traps.items() if n == 0] == []


def test_layout(tmp_path):
    rexgradient.write(tmp_path, studies=300, images=False)
    raw = (tmp_path / "metadata" / "train_metadata_view_position.json").read_text(encoding="utf-8")
    assert re.search(r'": NaN[,}]', raw)
    assert re.search(r'": null[,}]', raw)
    records = recount.rex_records(tmp_path, "train")
    units = Counter()
    for key, r in records.items():
        assert key == f"p{r['PatientID']}_a{r['AccessionNumber']}_s{r['StudyInstanceUid']}"
        assert re.fullmatch(r"GRDN[0-9A-Z]{12}", r["PatientID"])
        assert re.fullmatch(r"GRDN[0-9A-Z]{12}", r["AccessionNumber"])
        assert re.fullmatch(r"20\d{6}", str(r["StudyDate"]))
        if not recount.missing(r["PatientAge"]):
            assert re.fullmatch(r"\d{3}[YMWD]", r["PatientAge"])
            units[r["PatientAge"][-1]] += 1
        for column in ("ImageViewPosition", "ImageShape", "ImageModality", "ImageBodyPart"):
            assert len(r[column]) == len(r["ImagePath"]) >= 1
        folder = f"../deid_png/{r['PatientID']}/{r['AccessionNumber']}/studies/{r['StudyInstanceUid']}/series/"
        for path in r["ImagePath"]:
            assert path.startswith(folder)
            assert re.fullmatch(r"2\.25\.\d+/instances/2\.25\.\d+\.png", path.removeprefix(folder))
        assert r["Findings"].strip() and r["Impression"].strip()
    assert set(units) == {"Y", "M", "W", "D"}
    assert {type(r["StudyDate"]) for r in records.values()} == {int, str}
    assert {type(r["PatientWeight"]) for r in records.values()} == {float, str, type(None)}
    patients = [r["PatientID"] for r in records.values()]
    assert patients != sorted(patients)
    times = [int(r["StudyDate"]) for r in records.values()]
    assert times != sorted(times)


def test_time_runs_the_same_for_dates_and_ages(tmp_path):
    rexgradient.write(tmp_path, studies=400, images=False)
    records = recount.rex_records(tmp_path, "train")
    days = 0
    for key, before in recount.priors(records).items():
        now, then = records[key], records[before]
        ages = [r["PatientAge"] for r in (now, then)]
        if all(isinstance(age, str) and age.endswith("Y") for age in ages):
            elapsed = int(str(now["StudyDate"])[:4]) - int(str(then["StudyDate"])[:4])
            assert -1 <= int(ages[0][:3]) - int(ages[1][:3]) - elapsed <= 1
            days += 1
        assert now["PatientSex"] == then["PatientSex"] or now["PatientSex"] not in ("M", "F")
    assert days > 50


def test_table_has_the_records_of_the_json(tmp_path):
    rexgradient.write(tmp_path, studies=60, images=False)
    records = recount.rex_records(tmp_path, "val")
    with (tmp_path / "metadata" / "valid_metadata.csv").open(encoding="utf-8", newline="") as table:
        lines = list(csv.DictReader(table))
    assert [line["id"] for line in lines] == list(records)
    for line in lines:
        record = records[line["id"]]
        assert line["Findings"] == record["Findings"]
        assert line["StudyDate"] == str(record["StudyDate"])
        assert line["PatientAge"] == ("" if recount.missing(record["PatientAge"]) else record["PatientAge"])


def test_images_are_16_bit_stretched_and_all_there(tmp_path):
    rexgradient.write(tmp_path, studies=20)
    listed = {}
    for split in SPLITS:
        for record in recount.rex_records(tmp_path, split).values():
            listed.update(zip(record["ImagePath"], record["ImageShape"], strict=True))
    files = {f"../{path.relative_to(tmp_path)}" for path in (tmp_path / "deid_png").rglob("*.png")}
    assert files == set(listed)
    for path, shape in listed.items():
        file = tmp_path / path.removeprefix("../")
        assert file.read_bytes()[24] == 16  # bit depth in the PNG header
        with Image.open(file) as image:
            pixels = np.asarray(image)
        assert list(pixels.shape) == shape
        assert (pixels.min(), pixels.max()) == (0, 65535)


def test_text_lengths_ages_and_sexes_are_near_the_published_tables(tmp_path):
    facts = rexgradient.write(tmp_path, studies=4000, images=False).splits["train"]
    for section, mean in (("indication", 5.11), ("comparison", 2.65), ("findings", 32.27), ("impression", 11.17)):
        assert facts.mean_words(section) == pytest.approx(mean, rel=0.06), section
    known = facts.studies - facts.ages["missing"]
    for name, percent in (("0-20", 16.9), ("20-40", 19.4), ("40-60", 25.1), ("60-80", 26.0), ("80+", 12.6)):
        assert 100 * facts.ages[name] / known == pytest.approx(percent, abs=0.3), name
    for name, percent in (("M", 49.0), ("F", 49.5), ("unknown", 1.5)):
        assert 100 * facts.sexes[name] / facts.studies == pytest.approx(percent, abs=0.05), name


def test_texts_vary(tmp_path):
    rexgradient.write(tmp_path, studies=1000, images=False)
    records = recount.rex_records(tmp_path, "train").values()
    assert len({r["Findings"] for r in records}) > 0.97 * len(records)
    assert 0.4 * len(records) < len({r["Impression"] for r in records}) < 0.9 * len(records)


@pytest.mark.slow
def test_published_counts_at_full_size(tmp_path):
    planted = rexgradient.write(tmp_path, studies=160000, images=False)
    for row, splits in PUBLISHED.items():
        for split, (examples, images) in zip(SPLITS, splits, strict=True):
            assert planted.counts[row][split] == Counts(examples, images, examples), (row, split)
    facts = planted.splits
    assert [facts[split].images for split in SPLITS] == [238968, 17007, 17029]
    assert [facts[split].patients for split in SPLITS] == [95716, 6964, 6807]
    check_counts(tmp_path, planted)
