"""Synthetic RSNA pneumonia challenge: the two tables, the mapping to ChestX-ray14, and DICOM files of 1024 by 1024."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from instruct.synth.dicom import write_dicom
from instruct.synth.files import start
from instruct.synth.ids import uid
from instruct.synth.keyed import Draws
from instruct.synth.nih_linked import NihImages
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import apportion, scatter, share

LABELS = "stage_2_train_labels.csv"
CLASSES = "stage_2_detailed_class_info.csv"
SUBMISSION = "stage_2_sample_submission.csv"
MAPPING = "pneumonia-challenge-dataset-mappings_2018.json"
TRAIN, TEST = "stage_2_train_images", "stage_2_test_images"

# Images of the release by their number of boxes, 1 to 4; the negatives by class; and those without labels.
_BOXES = (2614, 3266, 119, 13)
_NORMAL, _NOT_NORMAL = 8851, 11821
_FULL_SIZE, _UNLABELLED = 26684, 3000


@dataclass(frozen=True)
class _Image:
    name: str
    kind: str
    boxes: tuple[tuple[int, int, int, int], ...]


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic RSNA corpus, and the ChestX-ray14 it shows beside it if that is not there.

    Args:
        root: folder to write into; ChestX-ray14 lies in the folder ``chestxray14`` beside it.
        studies: number of labelled images, 20 or more.
        seed: any integer.
        images: also write the DICOM files: the pictures of the ChestX-ray14 corpus, byte for byte.

    Returns:
        What was planted.

    Raises:
        UsageError: too few images, or an RSNA corpus is there already.
    """
    start(root, studies, (LABELS, CLASSES, SUBMISSION, MAPPING, TRAIN, TEST))
    draws = Draws(seed, "rsna")
    nih = NihImages(root, draws, studies=studies, seed=seed, images=images)
    found = _plan(draws, studies)
    unlabelled = [_name(draws, "unlabelled", k) for k in range(share(_UNLABELLED, _FULL_SIZE, studies, at_least=2))]
    _write_tables(root, found, unlabelled)
    names = [image.name for image in found] + unlabelled
    linked = [(name, nih.name(k)) for k, name in enumerate(names)]
    mapping = [
        {
            "subset_img_id": name,
            "img_id": of,
            "StudyInstanceUID": uid(draws, "study", k),
            "SeriesInstanceUID": uid(draws, "series", k),
            "SOPInstanceUID": uid(draws, "image", k),
        }
        for k, (name, of) in enumerate(linked)
        if of
    ]
    (root / MAPPING).write_text(json.dumps(sorted(mapping, key=lambda entry: str(entry["img_id"]))), "utf-8")
    if images:
        for folder, first, last in ((TRAIN, 0, studies), (TEST, studies, len(names))):
            (root / folder).mkdir()
            for k in range(first, last):
                uids = (uid(draws, "study", k), uid(draws, "series", k), uid(draws, "image", k))
                age = "155Y" if k == 1 else f"{20 + k % 70:03d}Y"
                tags = {(0x0010, 0x0040): ("CS", "FM"[k % 2]), (0x0010, 0x1010): ("AS", age)}
                tags[0x0018, 0x5101] = ("CS", "AP" if k % 3 else "PA")
                write_dicom(root / folder / f"{names[k]}.dcm", nih.pixels(k), uids, patient=names[k], tags=tags)
    rest = math.ceil(0.3 * studies)
    sizes = {"train": studies - rest, "val": rest - rest // 2, "test": rest // 2}
    traps = {
        "boxes": sum(len(image.boxes) for image in found),
        "images_with_several_boxes": sum(len(image.boxes) > 1 for image in found),
        "images_without_opacity_yet_not_normal": sum(image.kind == _KINDS[1] for image in found),
        "impossible_age": 1,
        "unlabelled_images": len(unlabelled),
    }
    return Planted(
        "rsna",
        {"[Image Classification] [RSNA]": {split: Counts(size, size, size) for split, size in sizes.items()}},
        traps,
        {split: SplitFacts(size, size, None, {}, {}) for split, size in sizes.items()},
    )


_KINDS = ("Normal", "No Lung Opacity / Not Normal", "Lung Opacity")


def _plan(draws: Draws, studies: int) -> list[_Image]:
    positives = share(sum(_BOXES), _FULL_SIZE, studies, at_least=4)
    several = scatter(draws, "boxes", apportion(positives, _BOXES, range(4))) + 1
    normal, not_normal = apportion(studies - positives, (_NORMAL, _NOT_NORMAL), range(2))
    kinds = scatter(draws, "kinds", (normal, not_normal, positives)).tolist()
    numbers = iter(several.tolist())
    found = []
    for k, kind in enumerate(kinds):
        stream = draws.stream("places", k)
        boxes = tuple(
            (
                40 + 240 * place + stream.below(60),
                120 + stream.below(400),
                90 + stream.below(90),
                150 + stream.below(300),
            )
            for place in range(next(numbers) if kind == 2 else 0)
        )
        found.append(_Image(_name(draws, "labelled", k), _KINDS[kind], boxes))
    return found


def _name(draws: Draws, kind: str, k: int) -> str:
    digits = f"{draws.number(kind, k):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _write_tables(root: Path, found: list[_Image], unlabelled: list[str]) -> None:
    labels, classes = ["patientId,x,y,width,height,Target"], ["patientId,class"]
    for image in found:
        labels += [f"{image.name},{','.join(f'{side}.0' for side in box)},1" for box in image.boxes]
        labels += [] if image.boxes else [f"{image.name},,,,,0"]
        classes += [f"{image.name},{image.kind}"] * max(1, len(image.boxes))
    submission = ["patientId,PredictionString", *(f"{name},0.5 0 0 100 100" for name in unlabelled)]
    for name, lines in ((LABELS, labels), (CLASSES, classes), (SUBMISSION, submission)):
        (root / name).write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
