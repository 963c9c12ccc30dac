"""The published numbers on the published files of OpenI."""

import json
from pathlib import Path

import pytest

from tests.build.helpers import call, rows
from tests.conftest import run_cli

TASKS = ("Findings Generation", "Impression Generation", "Findings Summarization")


def table(out: Path) -> dict[str, tuple[int, int, int]]:
    """Examples, images and studies of each row's test split."""
    counted = json.loads(call("counts", out, "--json").out)["rows"]
    assert all(row[key] == 0 for row in counted.values() for key in row if not key.endswith("test"))
    return {
        task: tuple(counted[f"[{task}] [OpenI]"][key] for key in ("test", "images_test", "studies_test"))  # type: ignore[misc]
        for task in TASKS
    }


@pytest.fixture(scope="module")
def built(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("real") / "out"
    done = run_cli("build", "openi", "--data-root", shared_data, "--out", out)
    assert "the full release gives" not in done.stdout  # `expect` of the spec is met
    return out


def test_the_published_numbers(built: Path) -> None:
    assert table(built) == {
        "Findings Generation": (3337, 6473, 3337),
        "Impression Generation": (3820, 7418, 3820),
        "Findings Summarization": (3419, 0, 3419),
    }


def test_compare_finds_only_the_27_and_explains_it(built: Path) -> None:
    differences = json.loads(call("counts", built, "--compare", "published", "--json").out)["differences"]
    (cell,) = [item for item in differences if item["row"] != "Total"]
    assert (cell["row"], cell["column"]) == ("[Findings Summarization] [OpenI]", "studies (test)")
    assert (cell["ours"], cell["theirs"]) == (3419, 27)
    assert "first character of the findings" in cell["explanation"]
    printed = call("counts", built, "--compare", "published").out
    assert "3 rows compared: 26 cells equal, 1 differ." in printed
    assert "known defect" in printed and "3,419 reports have 27 ids" in printed


def test_images_that_are_not_on_disk_are_counted(built: Path, shared_data: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text("utf-8"))
    here = {file.name for file in (shared_data / "openi" / "images").iterdir()}
    named = {
        Path(image["path"]).name
        for image in [image for row in rows(built, "findings*-openi") for image in row["images"]]
    }
    (task,) = [task for task in manifest["tasks"] if task["config"] == "findings_generation-openi"]
    assert task["missing_images"] == len(named - here) == 6473 - 8


def test_only_images_on_disk(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    call("build", "openi", "images.missing=drop", "max_bad=1", "--data-root", shared_data, "--out", out)
    assert table(out) == {
        "Findings Generation": (6, 8, 6),
        "Impression Generation": (8, 12, 8),
        "Findings Summarization": (3419, 0, 3419),
    }
    for config, records in (("findings_generation-openi", 3337), ("impression_generation-openi", 3820)):
        kept = {row["id"] for row in rows(out, config)}
        name = f"[{config.split('_')[0].capitalize()} Generation] [OpenI]"
        left_out = [json.loads(line) for line in (out / "quarantine.jsonl").read_text("utf-8").splitlines()]
        left_out = [row for row in left_out if row["task"] == name]
        assert {row["reason"] for row in left_out} == {"missing_image"}
        assert len(kept | {row["id"] for row in left_out}) == len(kept) + len(left_out) == records


def test_needing_the_images_stops_a_build_that_did_not_allow_it(shared_data: Path, tmp_path: Path) -> None:
    done = call(
        "build", "openi", "images.missing=drop", "tasks=[findings_generation-openi]",
        "--data-root", shared_data, "--out", tmp_path / "out", check=4,
    )  # fmt: skip
    assert "[Findings Generation] [OpenI]: 3,331 of 3,337 records are bad (max_bad: 0.01)" in done.err
    assert "3,331 missing_image: an image of the record is not on disk; first: CXR" in done.err
    assert "max_bad=SHARE" in done.err
