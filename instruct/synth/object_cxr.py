"""Synthetic Object-CXR: ``train.csv``, ``dev.csv`` and small JPEGs in ``train/``, ``dev/`` and ``test/``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from PIL import Image

from instruct.synth.draw import draw_chest
from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import scatter, share
from instruct.synth.state import ChestState

TRAIN, DEV, TEST = "train", "dev", "test"
_FULL_TRAIN, _FULL_DEV = 8000, 1000
_SHAPES = ("rectangle", "ellipse", "polygon")


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic Object-CXR.

    Args:
        root: folder to write into.
        studies: labelled images, 20 or more.
        seed: any integer.
        images: also write the JPEGs, without which sizes of images and thus shares of boxes are not known.

    Returns:
        What was planted.

    Raises:
        UsageError: too few images, or an Object-CXR corpus is there already.
    """
    start(root, studies, (f"{TRAIN}.csv", f"{DEV}.csv", TRAIN, DEV, TEST))
    draws = Draws(seed, "object_cxr")
    dev = share(_FULL_DEV, _FULL_TRAIN + _FULL_DEV, studies, at_least=3)
    sizes = {TRAIN: studies - dev, DEV: dev, TEST: dev}
    traps: Counter[str] = Counter()
    first = 1
    for folder, size in sizes.items():
        filled = scatter(draws, folder, (size - size // 2, size // 2)).tolist()
        lines = ["image_name,annotation"]
        if images:
            (root / folder).mkdir()
        for k in range(size):
            name = f"{first + k:05d}.jpg"
            stream = draws.stream("image", first + k)
            height, width = 90 + 2 * stream.below(40), 90 + 2 * stream.below(40)
            cell = _cell(stream, height, width, sum(filled[:k]), traps) if filled[k] and folder != TEST else ""
            lines.append(f"{name},{cell}")
            if images:
                state = ChestState(device=1 + k % 4 if filled[k] else 0)
                drawing = draw_chest(state, "frontal", draws, first + k, height=height, width=width)
                Image.fromarray(drawing.pixels8()).save(root / folder / name, format="JPEG", quality=80)
        if folder != TEST:
            (root / f"{folder}.csv").write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
            traps["images_without_objects"] += size - sum(filled)
        first += size
    train, val, nothing = (Counts(n, n, n) for n in (sizes[TRAIN], sizes[DEV], 0))
    return Planted(
        "object_cxr",
        {"[Foreign Object Detection] [Object-CXR]": {"train": train, "val": val, "test": nothing}},
        dict(sorted(traps.items())),
        {
            split: SplitFacts(sizes[folder], sizes[folder], None, {}, {})
            for split, folder in (("train", TRAIN), ("val", DEV))
        },
    )


def _cell(stream: Stream, height: int, width: int, place: int, traps: Counter[str]) -> str:
    """The objects of an image as its cell has them; every trap comes round with the images' places."""
    objects = []
    for number in range(1 + place % 3):
        shape = (place + number) % len(_SHAPES)
        x, y = 10 + stream.below(width - 40), 10 + stream.below(height - 40)
        wide, high = 6 + stream.below(12), 6 + stream.below(12)
        numbers = [x, y, x + wide, y + high]
        if shape == 2:
            numbers = [x + wide // 2, y, x + wide, y + high // 3, x + wide // 2, y + high, x, y + high // 2]
        elif place % 5 == 1:
            numbers[0] = -3
            traps["objects_with_a_negative_coordinate"] += 1
        elif place % 5 == 2:
            numbers[2:] = [width + 4, height + 2]
            traps["objects_beyond_the_image"] += 1
        objects.append(f"{shape} {' '.join(map(str, numbers))}")
        traps[f"objects_{_SHAPES[shape]}"] += 1
    cell = ";".join(objects)
    if place % 4 == 3:
        cell = cell.replace(" ", "  ", 1) + ";"
        traps["cells_with_doubled_blank_and_last_semicolon"] += 1
    return cell
