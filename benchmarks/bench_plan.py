"""A plan of a million images: time and peak memory of ``cxr-instruct plan``, images by reference and packed.

    python benchmarks/bench_plan.py [--images 1000000] [--work DIR] [--keep]

The listing is made up (ChestX-ray14's table of entries), and so are the image files: empty ones, so that the plan finds
something under every name, and would tell a million stamps apart. No pixel is read by a plan. One task shows every
image. Memory is sampled as in ``bench_table``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

from bench_table import watch

GOAL_SECONDS, GOAL_MIB = 60, 1536
HEAD = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)

RECIPE = """
name: listing
sources: {chestxray14: {}}
tasks: ["[Image Classification] [Listing]"]
"""
SPEC = """
source: chestxray14
dataset: Listing
access: open
licence: made up
tasks:
  - task: Image Classification
    template: image_classification
    records: |
      SELECT study AS id, split, patient, [study] AS studies, [file] AS images, origin,
        ['Edema', 'Mass', 'Effusion', 'No Finding'] AS options,
        CASE WHEN len(labels) = 0 THEN ['No Finding'] ELSE labels END AS answers
      FROM images
"""


def make(work: Path, images: int) -> None:
    """Write listing, empty image files, recipe and spec, where they are not there yet."""
    done = work / f"done-{images}"
    if done.exists():
        return
    shutil.rmtree(work, ignore_errors=True)
    corpus = work / "data" / "chestxray14"
    (corpus / "images").mkdir(parents=True)
    names = [f"{1 + number // 4:08d}_{number % 4:03d}.png" for number in range(images)]
    with (corpus / "Data_Entry_2017_v2020.csv").open("w") as file:
        file.write(HEAD + "\n")
        for number, name in enumerate(names):
            label = ("No Finding", "Mass|Edema", "Effusion")[number % 3]
            file.write(f"{name},{label},{number % 4},{1 + number // 4},{20 + number % 70},F,PA,2500,2048,0.168,0.168\n")
    test = images // 5 // 4 * 4  # whole patients
    (corpus / "test_list.txt").write_text("\n".join(names[:test]) + "\n")
    (corpus / "train_val_list.txt").write_text("\n".join(names[test:]) + "\n")
    (corpus / "BBox_List_2017.csv").write_text("Image Index,Finding Label,Bbox [x,y,w,h],,,\n")
    for name in names:
        os.mknod(corpus / "images" / name)
    (work / "specs").mkdir()
    (work / "specs" / "listing.yaml").write_text(SPEC)
    (work / "recipe.yaml").write_text(RECIPE)
    done.touch()


def main() -> None:
    """Make the listing, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--work", type=Path, default=Path("/tmp/cxr-instruct-bench-plan"))
    parser.add_argument("--keep", action="store_true", help="leave the listing there")
    options = parser.parse_args()
    make(options.work, options.images)
    print(f"{os.cpu_count()} cores; Python {sys.version.split()[0]}; load {os.getloadavg()[0]:.1f} before")
    print(f"goals for a million images: {GOAL_SECONDS} s, {GOAL_MIB:,} MiB")
    print("| images.store | images | shards | wall s | CPU s | peak MiB | largest resident MiB |")
    print("|:--|--:|--:|--:|--:|--:|--:|")
    for store in ("reference", "pack"):
        command = [
            str(Path(sys.executable).with_name("cxr-instruct")), "plan", str(options.work / "recipe.yaml"),
            f"images.store={store}", "images.missing=drop", "--specs", str(options.work / "specs"),
            "--data-root", str(options.work / "data"), "--out", str(options.work / "out"), "--json",
        ]  # fmt: skip
        found = watch(command)
        planned = found.said["tasks"]
        images = sum(planned[0]["records"].values())
        assert images == options.images, json.dumps(planned)
        shards = sum(task["build"] for task in planned)
        print(
            f"| {store} | {images:,} | {shards:,} | {found.wall:.1f} | {found.cpu:.1f} | {found.own:,.0f} |"
            f" {found.resident:,.0f} |",
            flush=True,
        )
    if not options.keep:
        shutil.rmtree(options.work)


if __name__ == "__main__":
    main()
