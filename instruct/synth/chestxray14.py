"""Synthetic ChestX-ray14: the NIH tables and lists, and ``images/*.png`` of 1024 by 1024 pixels.

A "study" is an image here, as in the count table. ``split_by_image.csv``, which is no NIH file, is not written.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from instruct.synth.chestxray14_plan import SIDE, Plan, plan_corpus
from instruct.synth.files import start, write_png
from instruct.synth.planted import Counts, Planted, SplitFacts

ENTRIES = {"v2020": "Data_Entry_2017_v2020.csv", "2017": "Data_Entry_2017.csv"}
BOXES = "BBox_List_2017.csv"
LISTS = ("train_val_list.txt", "test_list.txt")
IMAGES = "images"
ARCHIVE = "images_{:03d}"
_ARCHIVES = 12

# The bare commas in the headers are the publisher's.
_HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y]"
)
_BOX_HEADER = "Image Index,Finding Label,Bbox [x,y,w,h],,,"
_BOX_SPELLING = {"Infiltration": "Infiltrate"}
_NORMAL_QUOTA = 10_000


def write(
    root: Path, *, studies: int, seed: int = 0, images: bool = True, edition: str = "v2020", flat: bool = True
) -> Planted:
    """Write a synthetic ChestX-ray14.

    Args:
        root: folder to write into.
        studies: number of images, 20 or more.
        seed: any integer.
        images: also write ``images/*.png``, one in forty of them RGBA.
        edition: ``v2020``, or ``2017`` with its extra comma at each line's end and an impossible age.
        flat: whether the images lie in ``images/``, or in ``images_001/images/`` to ``images_012/images/``.

    Returns:
        What was planted.

    Raises:
        UsageError: too few images, or a ChestX-ray14 corpus is there already.
    """
    start(root, studies, (*ENTRIES.values(), BOXES, *LISTS, IMAGES, ARCHIVE.format(1)))
    plan = plan_corpus(seed, studies)
    end = "," if edition == "2017" else ""
    ages = plan.ages.tolist()
    if edition == "2017":
        ages[-1] = 412
    lines = [_HEADER + end]
    for k, name in enumerate(plan.names):
        labels = "|".join(plan.labels[k]) or "No Finding"
        view, sex = "AP" if plan.portable[k] else "PA", "M" if plan.male[k] else "F"
        sizes = "2500,2048,0.168,0.168" if plan.portable[k] else "2992,2991,0.143,0.143"
        lines.append(f"{name},{labels},{plan.follow_ups[k]},{plan.patients[k]},{ages[k]},{sex},{view},{sizes}{end}")
    _write_lines(root / ENTRIES[edition], lines)
    _write_lines(root / BOXES, [_BOX_HEADER, *_box_lines(plan)])
    for name, of_test in zip(LISTS, (False, True), strict=True):
        listed = [image for image, split in zip(plan.names, plan.splits, strict=True) if (split == "test") == of_test]
        _write_lines(root / name, listed)
    if images:
        for k, name in enumerate(plan.names):
            folder = root / ("" if flat else ARCHIVE.format(1 + k * _ARCHIVES // studies)) / IMAGES
            folder.mkdir(parents=True, exist_ok=True)
            grey = plan.drawing(k).pixels8()
            grey = grey.repeat(SIDE // grey.shape[0], axis=0).repeat(SIDE // grey.shape[1], axis=1)
            rgba = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
            write_png(folder / name, rgba if k % 40 == 3 else grey)
    return Planted("chestxray14", _counts(plan), _traps(plan, end), _facts(plan))


def _box_lines(plan: Plan) -> list[str]:
    lines = []
    for k in sorted(plan.boxed):
        for label, (x1, y1, x2, y2) in plan.boxes(k):
            numbers = ",".join(repr(value * SIDE) for value in (x1, y1, x2 - x1, y2 - y1))
            lines.append(f"{plan.names[k]},{_BOX_SPELLING.get(label, label)},{numbers},,,")
    return lines


def _write_lines(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines), "utf-8", newline="\n")


def _counts(plan: Plan) -> dict[str, dict[str, Counts]]:
    row = {}
    for split in ("train", "val", "test"):
        labels = [held for held, its in zip(plan.labels, plan.splits, strict=True) if its == split]
        normal = sum(not held for held in labels)
        kept = len(labels) - normal + (min(normal, _NORMAL_QUOTA) if split == "train" else normal)
        row[split] = Counts(kept, kept, kept)
    return {"[Image Classification] [ChestXray14]": row}


def _traps(plan: Plan, end: str) -> dict[str, int]:
    sequence = [int(name[9:12]) for name in plan.names]
    return {
        "boxes": sum(len(plan.boxes(k)) for k in plan.boxed),
        "boxes_spelt_infiltrate": sum(label == "Infiltration" for k in plan.boxed for label, _ in plan.boxes(k)),
        "follow_up_other_than_sequence": int((plan.follow_ups != np.array(sequence)).sum()),
        "impossible_age": int(bool(end)),
        "label_mass_or_pneumonia_inside_others": sum(
            "Pneumothorax" in labels and "Pneumonia" not in labels for labels in plan.labels
        ),
        "no_finding": sum(not labels for labels in plan.labels),
    }


def _facts(plan: Plan) -> dict[str, SplitFacts]:
    facts = {}
    for split in ("train", "val", "test"):
        chosen = [k for k, its in enumerate(plan.splits) if its == split]
        facts[split] = SplitFacts(
            studies=len(chosen),
            images=len(chosen),
            patients=len({int(plan.patients[k]) for k in chosen}),
            words={},
            texts={},
            sexes={"M": sum(plan.male[k] for k in chosen), "F": sum(not plan.male[k] for k in chosen)},
            views={"AP": sum(plan.portable[k] for k in chosen), "PA": sum(not plan.portable[k] for k in chosen)},
        )
    return facts
