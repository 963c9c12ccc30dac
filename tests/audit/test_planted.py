"""Each published leak, planted in a build, is named by the audit with its keys, and mended by the line it suggests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from instruct.api import build_dataset, load_recipe
from instruct.synth import write
from tests.audit.builds import audit, build, named

CLEAN = ("rexgradient", "openi", "vindr_cxr", "brax", "object_cxr")
METADATA = "rexgradient/metadata/{}_metadata_view_position.json"


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corpora of sources that share nothing. Tests must not change it: copy it first."""
    root = tmp_path_factory.mktemp("corpora")
    for name in CLEAN:
        write(name, root / name, studies=60)
    return root


@pytest.fixture
def copy(corpora: Path, tmp_path: Path) -> Path:
    for part in ("metadata", "deid_png"):
        if (corpora / "rexgradient" / part).is_dir():
            shutil.copytree(corpora / "rexgradient" / part, tmp_path / "data" / "rexgradient" / part)
    return tmp_path / "data"


def metadata(data: Path, split: str) -> dict:
    return json.loads((data / METADATA.format(split)).read_text("utf-8"))


def save(data: Path, split: str, content: dict) -> None:
    (data / METADATA.format(split)).write_text(json.dumps(content), "utf-8")


def test_a_clean_build_has_no_findings(corpora: Path, tmp_path: Path) -> None:
    out = build(tmp_path, corpora, CLEAN)
    result = audit(out, "--images", clean=True)
    assert result["checks"] == ["protected", "patient", "study", "image", "text", "pixels"]
    assert result["left_out"] == {} and result["fix"] == {}


TEST_TWICE = """\
source: rad_restruct
dataset: Rad-Restruct
access: open
licence: none
namespace: openi
tasks:
  - task: Read twice
    template: open_ended_vqa
    records: |
      SELECT twice.split || study || '-' || number AS id, twice.split, study AS patient, [study] AS studies, images,
        question, array_to_string(answers, ', ') AS answer, questions.origin
      FROM questions JOIN reports USING (study, split)
      JOIN (VALUES ('train', 'train'), ('test', 'val'), ('test', 'test')) AS twice(given, split)
        ON given = questions.split
"""


def test_validation_that_is_the_test_set(tmp_path: Path) -> None:
    """The published RadQA and Rad-ReStruct rows; our reader refuses files with a report in two splits."""
    data = tmp_path / "data"
    write("radqa", data / "radqa", studies=320)  # of few made-up reports, chance makes pairs that no other has
    write("rad_restruct", data / "rad_restruct", studies=40)
    (data / "radqa" / "dev.json").write_bytes((data / "radqa" / "test.json").read_bytes())
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "twice.yaml").write_text(TEST_TWICE, "utf-8")
    sources, tasks = ["radqa", "rad_restruct"], ["text_qa-radqa", "read_twice-rad_restruct"]
    result = audit(build(tmp_path, data, sources, tasks=tasks))
    found = named(result)
    (ids,) = data.rglob("test_ids.json")
    assert found["study", "Rad-Restruct", "val", "Rad-Restruct", "test"] == len(json.loads(ids.read_text("utf-8")))
    passages = json.loads((data / "radqa" / "test.json").read_text("utf-8"))["data"]
    assert found["study", "RadQA", "val", "RadQA", "test"] == len(passages)
    # Made-up reports have the numbers of real ones, and some of those are ReXrank's.
    assert {key[0] for key in found if "train" in key} <= {"protected"}
    assert result["fix"] == {"splits": {"Rad-Restruct": "drop_leaks", "RadQA": "drop_leaks"}}
    audit(build(tmp_path, data, sources, "mended", tasks=tasks, **result["fix"]), clean=True)


def test_openi_test_reports_in_rad_restruct_train(tmp_path: Path) -> None:
    write("rad_restruct", tmp_path / "data" / "rad_restruct", studies=40)
    out = build(tmp_path, tmp_path / "data", ["openi", "rad_restruct"])
    result = audit(out, "--all-keys")
    found = named(result)
    (table,) = [row for row in result["matrix"] if row["kind"] == "study" and row["first"] != row["second"]]
    assert (table["first"], table["second"]) == ("OpenI", "Rad-Restruct")
    assert found["study", "Rad-Restruct", "train", "OpenI", "test"] == table["shared"]["test"]["train"] > 0
    (study,) = [f for f in result["findings"] if (f["check"], f["split"]) == ("study", "train")]
    assert len(study["examples"]) == study["count"] and all(key.startswith("openi/CXR") for key in study["examples"])
    for rule in ("follow_upstream", "drop_leaks"):
        splits = {"Rad-Restruct": rule}
        mended = build(tmp_path, tmp_path / "data", ["openi", "rad_restruct"], rule, splits=splits, audit="fail")
        audit(mended, clean=True)
    rows = json.loads((tmp_path / "follow_upstream" / "manifest.json").read_text("utf-8"))["tasks"]
    moved = [task["facts"]["moved"] for task in rows if task["dataset"] == "Rad-Restruct"]
    assert all(set(one) >= {"train to test"} for one in moved)


@pytest.fixture(scope="module")
def chest14(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nih")
    write("covidx_cxr3", root / "covidx_cxr3", studies=150, images=False)  # writes RSNA and ChestX-ray14 beside it
    return root


def test_rsna_test_images_in_covidx_train(chest14: Path, tmp_path: Path) -> None:
    """The keys differ in namespace, folder and ending; the file names are the same."""
    sources = ["chestxray14", "covidx_cxr3", "rsna"]
    out = build(tmp_path, chest14, sources)
    result = audit(out, "--all-keys")
    found = named(result)
    assert found["image", "COVIDX-CXR-3", "train", "RSNA", "test"] > 0
    # Through RSNA's mapping, also studies and patients of ChestX-ray14.
    assert found["patient", "COVIDX-CXR-3", "train", "ChestXray14", "test"] > 0
    named_there = {
        line.split()[1].rpartition(".")[0] for line in (chest14 / "covidx_cxr3/train.txt").read_text().splitlines()
    }
    (images,) = [f for f in result["findings"] if (f["check"], f["dataset"], f["split"], f["other"], f["other_split"])
                 == ("image", "COVIDX-CXR-3", "train", "RSNA", "test")]  # fmt: skip
    assert {Path(key).stem for key in images["examples"]} <= named_there
    assert result["fix"] == {"splits": {"COVIDX-CXR-3": "follow_upstream", "RSNA": "follow_upstream"}}
    audit(build(tmp_path, chest14, sources, "mended", **result["fix"]), clean=True)


LEAKY = """\
source: cxr_lt
dataset: All in train
access: open
licence: none
namespace: mimic_cxr
reads: [mimic_cxr]
upstream: [mimic_cxr]
tasks:
  - task: Image Classification
    template: image_classification
    records: |
      SELECT study AS id, 'train' AS split, patient, [study] AS studies, images, ['a', 'b'] AS options,
        ['a'] AS answers, origin
      FROM mimic_cxr.studies
"""


def test_sets_off_the_official_split(tmp_path: Path) -> None:
    """Without a MIMIC-CXR row in the build, its list of splits tells."""
    data = tmp_path / "data"
    for name in ("mimic_cxr_vqa", "cxr_lt"):
        write(name, data / name, studies=60, images=False)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "leaky.yaml").write_text(LEAKY)
    tasks = ["image_classification-all_in_train", "open_ended_vqa-mimic_cxr_vqa"]
    sources = ["cxr_lt", "mimic_cxr_vqa"]
    result = audit(build(tmp_path, data, sources, tasks=tasks), "--all-keys")
    found = named(result)
    assert found["official_split", "All in train", "train", "mimic_cxr", "test"] > 0
    assert found["official_split", "All in train", "train", "mimic_cxr", "val"] > 0
    assert (
        found["protected", "All in train", "train", "MIMIC-CXR official test", ""]
        == (found["official_split", "All in train", "train", "mimic_cxr", "test"])
    )
    assert any(key[:2] == ("official_split", "MIMIC-CXR-VQA") for key in found)
    fix = {"splits": {"All in train": "follow_upstream", "MIMIC-CXR-VQA": "follow_upstream"}}
    assert result["fix"] == fix
    audit(build(tmp_path, data, sources, "mended", tasks=tasks, **fix), clean=True)


VALID_IN_TRAIN = """\
source: chexpert
dataset: Valid in train
access: gated
licence: none
tasks:
  - task: Image Classification
    template: image_classification
    records: |
      SELECT image AS id, 'train' AS split, patient, [study] AS studies, [image] AS images, ['a', 'b'] AS options,
        ['a'] AS answers, origin
      FROM images
"""


def test_a_set_that_is_known_by_its_images(tmp_path: Path) -> None:
    """CheXpert's valid and test folders, whatever the studies and patients are called."""
    data = tmp_path / "data"
    write("chexpert", data / "chexpert", studies=60, images=False)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "valid_in_train.yaml").write_text(VALID_IN_TRAIN)
    tasks = ["image_classification-valid_in_train"]
    result = audit(build(tmp_path, data, ["chexpert"], tasks=tasks), "--all-keys")
    (finding,) = result["findings"]
    assert (finding["check"], finding["other"]) == ("protected", "CheXpert official valid and test")
    assert finding["count"] == len(finding["examples"]) > 0
    assert all(key.startswith(("chexpert/valid/", "chexpert/test/")) for key in finding["examples"])
    assert result["fix"] == {"splits": {"Valid in train": "drop_leaks"}}
    audit(build(tmp_path, data, ["chexpert"], "mended", tasks=tasks, **result["fix"]), clean=True)


REPORT = (
    "The tip of the right internal jugular catheter projects over the lower superior vena cava. A moderate layering "
    "effusion on the left has grown since the last film, with collapse of most of the left lower lobe. Streaky "
    "opacities at the right base are unchanged and probably reflect scarring. Two old fractures of the eighth and "
    "ninth ribs on the left have healed. The cardiac silhouette is partly hidden but looks mildly enlarged."
)
# Other words in nine places, and the sentences in another order.
PARAPHRASE = (
    "The cardiac silhouette is partly obscured but appears mildly enlarged. A moderate layering effusion on the left "
    "has increased since the last film, with collapse of most of the left lower lobe. The tip of the right internal "
    "jugular line projects over the lower superior vena cava. Two healed fractures of the eighth and ninth ribs on "
    "the left are seen. Streaky opacities at the right base are stable and probably reflect a scar."
)


@pytest.mark.parametrize("wording", [REPORT, PARAPHRASE], ids=["word for word", "paraphrased"])
def test_a_report_copied_under_another_name(copy: Path, tmp_path: Path, wording: str) -> None:
    test, train = metadata(copy, "test"), metadata(copy, "train")
    original, duplicate = min(test), min(train)
    test[original]["Findings"], train[duplicate]["Findings"] = REPORT, wording
    save(copy, "test", test)
    save(copy, "train", train)
    out = build(tmp_path, copy, ["rexgradient"], images={"missing": "keep"})
    result = audit(out)
    (finding,) = result["findings"]
    assert (finding["check"], finding["split"], finding["other_split"]) == ("text", "train", "test")
    (pair,) = finding["examples"]
    assert [key.removeprefix("rexgradient/") for key in pair["keys"]] == [duplicate, original]
    assert pair["likeness"] == 1 if wording == REPORT else 0.5 <= pair["likeness"] < 1
    assert finding["fix"] == {"leave_out": [f"rexgradient/{duplicate}"]}
    audit(build(tmp_path, copy, ["rexgradient"], "mended", **finding["fix"]), clean=True)
    audit(out, "--no-texts", clean=True)


@pytest.mark.parametrize("way", ["bytes", "gamma"])
def test_an_image_copied_under_another_name(copy: Path, tmp_path: Path, way: str) -> None:
    test, train = metadata(copy, "test"), metadata(copy, "train")
    root = copy / "rexgradient" / "metadata"
    source = root / test[min(test)]["ImagePath"][0]
    record = next(record for _, record in sorted(train.items()) if len(record["ImagePath"]) == 1)
    target = root / record["ImagePath"][0]
    if way == "bytes":
        target.write_bytes(source.read_bytes())
    else:
        with Image.open(source) as image:
            values = np.asarray(image, np.float64)
        Image.fromarray((65535 * (values / 65535) ** 0.9).astype(np.uint16)).save(target)
    out = build(tmp_path, copy, ["rexgradient"], images={"missing": "drop"}, audit="fail")  # keys are clean
    audit(out, clean=True)
    result = audit(out, "--images")
    (finding,) = result["findings"]
    assert (finding["check"], finding["split"], finding["other_split"]) == ("pixels", "train", "test")
    ((one, two),) = [pair["keys"] for pair in finding["examples"]]
    assert target.resolve() == (copy / one.replace("rexgradient/", "rexgradient/deid_png/")).resolve()
    assert source.resolve() == (copy / two.replace("rexgradient/", "rexgradient/deid_png/")).resolve()
    assert (finding["examples"][0]["likeness"] == 1) is (way == "bytes")
    audit(build(tmp_path, copy, ["rexgradient"], "mended", **finding["fix"]), "--images", clean=True)


def test_siim_is_found_by_its_pixels_alone(tmp_path: Path) -> None:
    """No mapping of SIIM's images to ChestX-ray14's is published."""
    write("siim", tmp_path / "data" / "siim", studies=30)
    out = build(tmp_path, tmp_path / "data", ["siim", "chestxray14"], audit="fail")
    result = audit(out, "--images", "--workers", "2")
    assert {one["check"] for one in result["findings"]} == {"pixels"}
    assert {one["dataset"] for one in result["findings"]} | {one["other"] for one in result["findings"]} == {
        "SIIM",
        "ChestXray14",
    }
    assert list(result["fix"]) == ["leave_out"]
    mended = build(tmp_path, tmp_path / "data", ["siim", "chestxray14"], "mended", **result["fix"])
    audit(mended, "--images", "--workers", "2", clean=True)


@pytest.mark.slow
def test_all_published_rows_are_clean_once_mended(tmp_path: Path) -> None:
    data = tmp_path / "data"
    from instruct.synth import SOURCES

    for name in SOURCES:
        if not (data / name).is_dir():
            write(name, data / name, studies=24, images=False)
    leaky = build_dataset(load_recipe("all", ["max_bad=1"]), tmp_path / "leaky", data_root=data).out
    result = audit(leaky)
    pairs = {(one["dataset"], one["other"]) for one in result["findings"]}
    assert {("Rad-Restruct", "OpenI"), ("RSNA", "ChestXray14"), ("MS-CXR-T", "MS-CXR-T")} <= pairs
    assert {("COVIDX-CXR-3", "RSNA"), ("RadGraph", "RadGraph test")} <= pairs
    mended = build(tmp_path, data, SOURCES, "mended", audit="fail", **result["fix"])
    audit(mended, clean=True)
