"""Synthetic SIIM-ACR pneumothorax challenge, stage 1: ``train-rle.csv`` and DICOM files of 1024 by 1024.

The table has the release's blanks (after the commas of its header and of its rows), and its rows are shuffled, so that
the regions of an image do not stand together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from instruct.synth.dicom import write_dicom
from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.nih_linked import SIDE, NihImages
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import apportion, scatter, share

TABLE = "train-rle.csv"
TRAIN, TEST = "dicom-images-train", "dicom-images-test"

# Images of the later, combined table with no region, and with 1, 2, 3 and more.
_REGIONS = {0: 9378, 1: 2045, 2: 447, 3: 112, 5: 65}
_FULL_SIZE = 12047
_UNLABELLED, _FULL_STAGE_1 = 37, 10675


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic SIIM corpus, and the ChestX-ray14 it shows beside it if that is not there.

    Args:
        root: folder to write into; ChestX-ray14 lies in the folder ``chestxray14`` beside it.
        studies: number of labelled images, 20 or more.
        seed: any integer.
        images: also write the DICOM files: the pictures of the ChestX-ray14 corpus, byte for byte.

    Returns:
        What was planted.

    Raises:
        UsageError: too few images, or a SIIM corpus is there already.
    """
    start(root, studies, (TABLE, TRAIN, TEST))
    draws = Draws(seed, "siim")
    nih = NihImages(root, draws, studies=studies, seed=seed, images=images)
    kinds = tuple(_REGIONS)
    cells = scatter(draws, "regions", apportion(studies, list(_REGIONS.values()), range(len(kinds))))
    regions = [kinds[cell] for cell in cells]
    rows = []
    for k, number in enumerate(regions):
        rows += [f"{_uid('1', k)}, {text}" for text in _texts(draws.stream("places", k), number) or ("-1",)]
    shuffled = [rows[place] for place in draws.permutation("rows", len(rows))]
    text = "ImageId, EncodedPixels\n" + "".join(f"{row}\n" for row in shuffled)
    (root / TABLE).write_text(text, "utf-8", newline="\n")
    unlabelled = share(_UNLABELLED, _FULL_STAGE_1, studies, at_least=1)
    if images:
        for k in range(studies + unlabelled + 2):
            uids = _uid("3", k), _uid("2", k), _uid("1", k)
            folder = root / (TRAIN if k < studies + unlabelled else TEST) / uids[0] / uids[1]
            folder.mkdir(parents=True)
            write_dicom(folder / f"{uids[2]}.dcm", nih.pixels(k), uids)
    rest = math.ceil(0.3 * studies)
    sizes = {"train": studies - rest, "val": math.ceil(rest / 2), "test": rest // 2}
    traps = {
        "rows": len(rows),
        "images_without_pneumothorax": regions.count(0),
        "images_with_several_regions": sum(number > 1 for number in regions),
        "regions": sum(regions),
        "regions_that_overlap_another": sum(number > 1 for number in regions),
        "unlabelled_files": unlabelled,
    }
    return Planted(
        "siim",
        {"[Pneumothorax Segmentation] [SIIM]": {split: Counts(size, size, size) for split, size in sizes.items()}},
        traps,
        {split: SplitFacts(size, size, None, {}, {}) for split, size in sizes.items()},
    )


def _uid(kind: str, k: int) -> str:
    return f"1.2.276.0.9999999.1.{kind}.{k + 1:07d}"


def _texts(stream: Stream, number: int) -> list[str]:
    """Run lengths of an image's regions: crescents at a lung's edge; the second one overlaps the first."""
    left, top = 150 + stream.below(80), 120 + stream.below(80)
    texts = []
    for place in range(number):
        side = 420 * (place % 4 // 2) + 30 * (place % 2)
        wide, high = 40 + stream.below(60), 200 + stream.below(300)
        texts.append(_relative(_crescent(left + side, top + 40 * place, wide, high)))
    return texts


def _crescent(left: int, top: int, wide: int, high: int) -> Iterator[tuple[int, int]]:
    """Columns' runs of half an ellipse without a smaller one inside: place in the image in column order, length."""
    for x in range(wide):
        outer = high * math.sqrt(1 - ((x + 0.5) / wide - 1) ** 2) / 2
        start = round(top + high / 2 - outer)
        yield (left + x) * SIDE + start, max(1, round(outer * (0.3 + x / wide)))


def _relative(runs: Iterator[tuple[int, int]]) -> str:
    numbers, end = [], 0
    for place, length in runs:
        numbers += [place - end, length]
        end = place + length
    return " ".join(map(str, numbers))
