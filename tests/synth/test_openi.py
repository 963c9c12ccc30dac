import re
import tarfile

import numpy as np
import pytest
from PIL import Image

from instruct.synth import openi
from instruct.synth.planted import Counts

from . import recount


@pytest.mark.parametrize(("studies", "seed"), [(20, 0), (20, 3), (77, 1), (400, 2)])
def test_recount_equals_planted(tmp_path, studies, seed):
    planted = openi.write(tmp_path, studies=studies, seed=seed, images=False)
    rows, reports = recount.openi(tmp_path)
    for row, (examples, images, kept) in rows.items():
        assert planted.counts[row]["test"] == Counts(examples, images, kept)
        assert planted.counts[row]["train"] == planted.counts[row]["val"] == Counts(0, 0, 0)
    facts = planted.splits["test"]
    assert facts.studies == studies == len(reports)
    assert facts.images == sum(len(images) for _, _, images in reports.values())
    for label in ("COMPARISON", "INDICATION", "FINDINGS", "IMPRESSION"):
        lengths = [len(texts[label].split()) for _, texts, _ in reports.values()]
        assert facts.words[label.lower()] == sum(lengths)
        assert facts.texts[label.lower()] == sum(length > 0 for length in lengths)


@pytest.mark.parametrize("studies", [20, 150])
def test_recounted_traps(tmp_path, studies):
    planted = openi.write(tmp_path, studies=studies, images=False).distractors
    _, reports = recount.openi(tmp_path)
    texts = [texts for _, texts, _ in reports.values()]
    images = [images for _, _, images in reports.values()]
    names = [name for some in images for name in some]
    assert planted["reports_without_image"] == sum(not some for some in images) >= 1
    assert planted["empty_findings"] == sum(not t["FINDINGS"].strip() for t in texts) >= 1
    assert planted["empty_impression"] == sum(not t["IMPRESSION"].strip() for t in texts) >= 1
    assert planted["empty_findings_of_blanks_only"] == sum(t["FINDINGS"].isspace() for t in texts) >= 1
    assert planted["image_ids_with_extra_part"] == sum(bool(re.match(r"CXR\d+_1_", name)) for name in names) == 2
    assert planted["image_ids_with_third_number"] == sum(name.count("-") == 3 for name in names)
    assert planted["reports_with_removed_span"] == sum("XXXX" in "".join(t.values()) for t in texts)
    assert planted["findings_with_escaped_characters"] == sum("&" in t["FINDINGS"] for t in texts) >= 1
    outer = sum(t["FINDINGS"] != t["FINDINGS"].strip() and bool(t["FINDINGS"].strip()) for t in texts)
    assert planted["findings_with_outer_blanks"] == outer >= 1
    mixed = sum(len(e) > 0 for tree, _, _ in reports.values() for e in tree.iter("AbstractText"))
    assert planted["findings_with_mixed_content"] == mixed >= 1
    for section in ("FINDINGS", "IMPRESSION"):
        traps = sum(n for name, n in planted.items() if name.startswith(f"{section.lower()}_substring_trap"))
        keywords = sum(recount.has_word(t[section]) for t in texts)
        assert traps == sum(recount.only_inside_longer_words(t[section]) for t in texts) >= 3
        assert keywords == traps + planted[f"{section.lower()}_history_keyword"]


def test_layout(tmp_path):
    openi.write(tmp_path, studies=120, images=False)
    _, reports = recount.openi(tmp_path)
    assert min(reports) == 1
    assert max(reports) > len(reports)
    assert reports[1][2] == ["CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001"]
    for number, (tree, texts, images) in reports.items():
        assert tree.tag == "eCitation"
        assert tree.find("uId").get("id") == f"CXR{number}"
        assert sorted(texts) == ["COMPARISON", "FINDINGS", "IMPRESSION", "INDICATION"]
        assert len(list(tree.iter("AbstractText"))) == 4
        assert tree.find("MeSH/major") is not None
        assert images == sorted(images)
        assert all(re.fullmatch(rf"CXR{number}(_1)?_IM-\d{{4}}(-\d+){{1,2}}", name) for name in images)
    assert {len(images) for _, _, images in reports.values()} == {0, 1, 2, 3, 4, 5}
    assert any(e.text is None for tree, _, _ in reports.values() for e in tree.iter("AbstractText"))


def test_images_are_8_bit_and_all_there(tmp_path):
    planted = openi.write(tmp_path, studies=20)
    _, reports = recount.openi(tmp_path)
    names = {f"{name}.png" for _, _, images in reports.values() for name in images}
    assert {path.name for path in (tmp_path / "images").iterdir()} == names
    modes = {}
    for path in (tmp_path / "images").iterdir():
        assert path.read_bytes()[24] == 8  # bit depth in the PNG header
        with Image.open(path) as image:
            modes.setdefault(image.mode, set()).add(path.name.split("_")[0])
            assert np.asarray(image).std() > 20
    assert set(modes) == {"L", "RGB"}
    assert len(modes["RGB"]) == planted.distractors["reports_with_colour_images"]


def test_archive_holds_the_same_files(tmp_path):
    folder = openi.write(tmp_path / "folder", studies=25, images=False)
    packed = openi.write(tmp_path / "packed", studies=25, images=False, archive=True)
    openi.write(tmp_path / "again", studies=25, images=False, archive=True)
    assert folder == packed
    archive = tmp_path / "packed" / "NLMCXR_reports.tgz"
    assert archive.read_bytes() == (tmp_path / "again" / archive.name).read_bytes()
    with tarfile.open(archive) as tar:
        content = {name: tar.extractfile(name).read() for name in tar.getnames()}
    written = (tmp_path / "folder" / "ecgen-radiology").iterdir()
    assert content == {f"ecgen-radiology/{path.name}": path.read_bytes() for path in written}


def test_published_counts_at_full_size(tmp_path):
    planted = openi.write(tmp_path, studies=3955, images=False)
    test = {row: splits["test"] for row, splits in planted.counts.items()}
    assert test == {
        "[Findings Generation] [OpenI]": Counts(3337, 6473, 3337),
        "[Impression Generation] [OpenI]": Counts(3820, 7418, 3820),
        "[Findings Summarization] [OpenI]": Counts(3419, 0, 3419),
    }
    rows, reports = recount.openi(tmp_path)
    assert rows == {row: (c.examples, c.images, c.studies) for row, c in test.items()}
    assert planted.splits["test"].images == 7470
    assert planted.distractors["reports_without_image"] == 104
    assert max(reports) == 3999
