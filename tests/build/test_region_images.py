"""Regions belong to their image, also where another image of the record is left out."""

from __future__ import annotations

import json
from pathlib import Path

from tests.build.helpers import call, rows, write_report, write_spec, write_template

REGIONS = (
    "list_transform({}, lambda i: {{image: i::INTEGER, label: 'of ' || i, box: [i / 10, 0.2, 0.9, 0.9],"
    " mask: NULL::VARCHAR, size: NULL::INTEGER[]}}) AS regions"
)
QUERY = (
    "SELECT study AS id, 'train' AS split, patient, [study] AS studies, images, findings, origin, {} FROM studies"
    " ORDER BY id"
)


def build(tmp_path: Path, images: dict[int, str], which: str, *missing: str) -> dict[str, list[tuple[str, str, float]]]:
    """Records to the image, label and first coordinate of each region; of a number of images, those not on disk."""
    for number, names in images.items():
        write_report(tmp_path / "data", number, "Clear.", "None.", [f"CXR{number}_{letter}" for letter in names])
    folder = tmp_path / "data" / "openi" / "images"
    folder.mkdir(exist_ok=True)
    for number, names in images.items():
        for letter in names:
            if f"{number}{letter}" not in missing:
                (folder / f"CXR{number}_{letter}.png").write_bytes(b"")
    write_spec(tmp_path / "specs", {"mine": QUERY.format(REGIONS.format(which))})
    write_template(tmp_path / "specs", "mine", "Report.", images="any")
    call(
        "build", "openi", "tasks=[mine-mine]", "images.missing=drop", "max_bad=1", "--data-root", tmp_path / "data",
        "--specs", tmp_path / "specs", "--out", tmp_path / "out",
    )  # fmt: skip
    return {
        row["id"]: [
            (row["keys"]["images"][region["image"]][-5:-4], region["label"], region["box"][0])
            for region in row["regions"]
        ]
        for row in rows(tmp_path / "out")
    }


def quarantined(tmp_path: Path) -> dict[str, tuple[str, str]]:
    lines = (tmp_path / "out" / "quarantine.jsonl").read_text("utf-8").splitlines()
    return {row["id"]: (row["reason"], row["detail"]) for row in map(json.loads, lines)}


def test_regions_follow_the_images_that_stay(tmp_path: Path) -> None:
    images = {1: "ab", 2: "abc", 3: "abc", 4: "ab"}
    found = build(tmp_path, images, "range(len(images))", "1a", "2b", "3a", "3b")
    assert found == {
        "CXR1": [("b", "of 1", 0.1)],
        "CXR2": [("a", "of 0", 0.0), ("c", "of 2", 0.2)],
        "CXR3": [("c", "of 2", 0.2)],
        "CXR4": [("a", "of 0", 0.0), ("b", "of 1", 0.1)],
    }
    assert quarantined(tmp_path) == {}


def test_a_record_without_a_region_left_goes_too(tmp_path: Path) -> None:
    which = "CASE study WHEN 'CXR1' THEN [0] WHEN 'CXR2' THEN [] ELSE [1] END"
    found = build(tmp_path, {1: "ab", 2: "ab", 3: "ab"}, which, "1a", "2a", "3a")
    assert found == {"CXR2": [], "CXR3": [("b", "of 1", 0.1)]}
    assert quarantined(tmp_path) == {"CXR1": ("missing_image", "CXR1_a.png")}


def test_a_region_of_an_image_that_is_not_there(tmp_path: Path) -> None:
    which = "CASE study WHEN 'CXR1' THEN [0, 2, 3] WHEN 'CXR2' THEN [-1] ELSE [1] END"
    assert build(tmp_path, {1: "ab", 2: "ab", 3: "ab"}, which) == {"CXR3": [("b", "of 1", 0.1)]}
    assert quarantined(tmp_path) == {
        "CXR1": ("region_image", "a region is on image 2; the record has 2, counted from 0"),
        "CXR2": ("region_image", "a region is on image -1; the record has 2, counted from 0"),
    }
