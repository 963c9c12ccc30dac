"""Writing synthetic VinDr corpora: annotation and label tables, and small DICOM files of every sort."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from instruct.synth.dicom import write_dicom
from instruct.synth.draw import draw_chest
from instruct.synth.files import start
from instruct.synth.ids import uid
from instruct.synth.keyed import Draws
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import share
from instruct.synth.state import ChestState
from instruct.synth.vindr_plan import Kind, Picture, count, plan_pictures

_NO_FINDING = "No finding"


@dataclass(frozen=True)
class Edition:
    """How one of the two releases is laid out.

    Attributes:
        source: name of the source.
        dataset: its name in the count table.
        classes: classes of boxes.
        labels: classes of the image-level tables without "No finding".
        folder: folder of the tables; empty for the root.
        reader: column that names the radiologist.
        readers: radiologists per training image.
        blind_test: whether the test tables leave the radiologist out.
        train: training images of the release.
        test: test images of the release.
    """

    source: str
    dataset: str
    classes: tuple[str, ...]
    labels: tuple[str, ...]
    folder: str
    reader: str
    readers: int
    blind_test: bool
    train: int
    test: int


def write_edition(edition: Edition, root: Path, studies: int, seed: int, *, images: bool) -> Planted:
    """Write a corpus.

    Args:
        edition: which of the two.
        root: folder to write into.
        studies: images over both splits, 20 or more.
        seed: any integer.
        images: also write the DICOM files.

    Raises:
        UsageError: too few images, or a corpus is there already.
    """
    owned = (edition.folder,) if edition.folder else ("annotations_train.csv", "annotations_test.csv")
    start(root, studies, (*owned, "train", "test"))
    (root / edition.folder).mkdir(exist_ok=True)
    test = share(edition.test, edition.train + edition.test, studies, at_least=4)
    rows: dict[str, dict[str, Counts]] = {}
    traps: Counter[str] = Counter()
    facts = {}
    for split, size in (("train", studies - test), ("test", test)):
        draws = Draws(seed, edition.source, split)
        readers = 1 if split == "test" and edition.blind_test else edition.readers
        pictures = plan_pictures(draws, size, edition.classes, readers)
        names = [f"R{1 + stream}" for stream in draws.permutation("readers", 17)[:readers].tolist()]
        blind = split == "test" and edition.blind_test
        _write_annotations(root, edition, split, pictures, [] if blind else names)
        _write_labels(root, edition, split, pictures, [] if blind else names)
        for task, counts in count(pictures).items():
            row = rows.setdefault(f"[{task}] [{edition.dataset}]", {"train": counts, "val": Counts(0, 0, 0)})
            row[split] = counts
        traps.update(_traps(pictures))
        facts[split] = SplitFacts(size, size, None, {}, {})
        if images:
            (root / split).mkdir()
            for k, picture in enumerate(pictures):
                _write_image(root / split / f"{picture.image_id}.dicom", picture, draws, k)
    return Planted(edition.source, rows, dict(sorted(traps.items())), facts)


def _write_annotations(
    root: Path, edition: Edition, split: str, pictures: Sequence[Picture], names: Sequence[str]
) -> None:
    with (root / edition.folder / f"annotations_{split}.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image_id", *([edition.reader] if names else []), "class_name", *_SIDES])
        for picture in pictures:
            for reader, label, numbers in _rows(picture, max(1, len(names))):
                # The tables differ in the case of a class.
                spelt = "Lung opacity" if split == "test" and label == "Lung Opacity" else label
                table.writerow([picture.image_id, *(names[reader : reader + 1]), spelt, *numbers])


_SIDES = ("x_min", "y_min", "x_max", "y_max")


def _rows(picture: Picture, readers: int) -> Iterator[tuple[int, str, Sequence[object]]]:
    """Radiologist, class and box of each row of an image; a radiologist without boxes says that there is nothing."""
    silent = set(range(readers)) - {one.reader for one in picture.drawn}
    for one in picture.drawn:
        yield one.reader, one.label, one.box
    for reader in sorted(silent):
        yield reader, _NO_FINDING, ("",) * 4


def _write_labels(root: Path, edition: Edition, split: str, pictures: Sequence[Picture], names: Sequence[str]) -> None:
    columns = (*edition.labels, _NO_FINDING)
    with (root / edition.folder / f"image_labels_{split}.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image_id", *([edition.reader] if names else []), *columns])
        for place, picture in enumerate(pictures):
            for reader in range(max(1, len(names))):
                seen = {one.label for one in picture.drawn if one.reader == reader} or {_NO_FINDING}
                # In the children's release classes of boxes are no labels of images: those are diagnoses.
                seen = seen & set(columns) or {edition.labels[place % len(edition.labels)]}
                marks = [int(name in seen) for name in columns]
                table.writerow([picture.image_id, *(names[reader : reader + 1]), *marks])


def _write_image(path: Path, picture: Picture, draws: Draws, k: int) -> None:
    state = ChestState(opacity=k % 4, heart=k // 4 % 4, zone=k % 6)
    drawing = draw_chest(state, "frontal", draws.child("pictures"), k, height=picture.height, width=picture.width)
    uids = (uid(draws, "study", k), uid(draws, "series", k), picture.image_id)
    write_dicom(
        path,
        drawing.pixels8() if k % 5 == 0 else drawing.pixels16(),
        (uids[0], uids[1], uid(draws, "image", k)),
        inverted=k % 3 == 0,
        implicit=k % 4 == 1,
        nested=k % 4 > 1,
    )


def _traps(pictures: Sequence[Picture]) -> Counter[str]:
    kinds = Counter(picture.kind for picture in pictures)
    return Counter(
        images_without_findings=kinds[Kind.EMPTY],
        images_with_more_than_five_boxes=sum(sum(picture.merged.values()) > 5 for picture in pictures),
        classes_with_more_than_two_boxes=sum(n > 2 for picture in pictures for n in picture.merged.values()),
        boxes_taken_in_by_others=sum(len(picture.drawn) - sum(picture.merged.values()) for picture in pictures),
        chains_that_are_not_merged_whole=kinds[Kind.CHAIN],
        pairs_that_overlap_too_little=kinds[Kind.NEAR],
        two_classes_in_one_place=kinds[Kind.SAME_PLACE],
        images_with_boxes_beyond_the_edge=kinds[Kind.EDGE],
        one_radiologist_against_the_others=kinds[Kind.DISSENT],
    )
