"""What a synthetic VinDr corpus holds: boxes of radiologists whose merging is known beforehand.

An image is divided into nine cells. Boxes of several radiologists around one thing lie in one cell and overlap well, so
they become one; things in different cells never meet. Two kinds are about the rule itself: in a chain the middle box
overlaps both others, but these do not overlap each other, so the first takes in the middle one and the last stays; two
boxes that overlap a little (intersection over union 0.08) stay two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from hashlib import md5

from instruct.synth.keyed import Draws, Stream
from instruct.synth.planted import Counts
from instruct.synth.quota import apportion, scatter

Box = tuple[float, float, float, float]


class Kind(IntEnum):
    """Kind of image, in the order in which small corpora get one of each."""

    EMPTY = 0
    SIMPLE = 1
    PAIR = 2
    CROWDED = 3
    MANY = 4
    CHAIN = 5
    NEAR = 6
    SAME_PLACE = 7
    EDGE = 8
    DISSENT = 9


_WEIGHTS = {
    Kind.EMPTY: 45, Kind.SIMPLE: 20, Kind.PAIR: 10, Kind.CROWDED: 6, Kind.MANY: 5, Kind.CHAIN: 3, Kind.NEAR: 3,
    Kind.SAME_PLACE: 3, Kind.EDGE: 3, Kind.DISSENT: 2,
}  # fmt: skip
_CLASSES = {Kind.EMPTY: 0, Kind.PAIR: 1, Kind.EDGE: 1, Kind.DISSENT: 1, Kind.CROWDED: 3}
_CELLS = 9


@dataclass(frozen=True)
class Drawn:
    """A box as a radiologist drew it: which one of the image's radiologists, class and place in pixels."""

    reader: int
    label: str
    box: Box


@dataclass(frozen=True)
class Picture:
    """An image.

    Attributes:
        image_id: its identifier.
        kind: what it is for.
        height: rows.
        width: columns.
        drawn: boxes, in the order of the file.
        merged: class to the number of boxes that are left after merging.
    """

    image_id: str
    kind: Kind
    height: int
    width: int
    drawn: tuple[Drawn, ...]
    merged: dict[str, int]


def plan_pictures(draws: Draws, images: int, classes: Sequence[str], readers: int) -> list[Picture]:
    """The images of a split.

    Args:
        draws: source of randomness.
        images: how many.
        classes: classes of boxes.
        readers: radiologists per image.
    """
    kinds = scatter(draws, "kinds", apportion(images, list(_WEIGHTS.values()), range(len(_WEIGHTS)))).tolist()
    order = draws.permutation("classes", len(classes)).tolist()
    used = 0
    pictures = []
    for k, kind in enumerate(map(Kind, kinds)):
        stream = draws.stream("image", k)
        height, width = 96 + 8 * stream.below(10), 96 + 8 * stream.below(10)
        wanted = 1 + kinds[:k].count(kind) % 2 if kind == Kind.SIMPLE else _CLASSES.get(kind, 2)
        # Each class in turn, so that none is on so many images that negatives run out.
        names = [classes[order[(used + step) % len(classes)]] for step in range(wanted)]
        used += wanted
        scale = (width / 3, height / 3)
        drawn, merged = _boxes(kind, names, readers, stream, scale)
        identifier = f"{draws.number('image id', k):032x}"
        pictures.append(Picture(identifier, kind, height, width, tuple(drawn), merged))
    return pictures


def _boxes(
    kind: Kind, names: Sequence[str], readers: int, stream: Stream, scale: tuple[float, float]
) -> tuple[list[Drawn], dict[str, int]]:
    if kind == Kind.EMPTY:
        return [], {}
    first, second = names[0], names[-1]
    if kind in (Kind.CHAIN, Kind.NEAR):
        steps = (0.0, 0.6, 1.2) if kind == Kind.CHAIN else (0.0, 0.85)
        base = _in_cell(stream, 0, scale)
        line = [_shifted(base, step) for step in steps]
        drawn = [Drawn(place % readers, first, box) for place, box in enumerate(line)]
        return [*drawn, *_around(stream, 5, second, readers, scale)], {first: 2, second: 1}
    if kind == Kind.EDGE:
        box = (-0.5, -0.25, scale[0] * 0.8, scale[1] * 0.8)
        low = (scale[0] * 2.2, scale[1] * 2.1, scale[0] * 3 + 0.75, scale[1] * 3 + 0.5)
        return [Drawn(0, first, box), Drawn(0, first, low)], {first: 2}
    if kind == Kind.SAME_PLACE:
        drawn = _around(stream, 4, first, readers, scale)
        return [*drawn, *(Drawn(one.reader, second, one.box) for one in drawn)], {first: 1, second: 1}
    if kind == Kind.DISSENT:
        reader = min(1, readers - 1)
        return [Drawn(reader, first, _in_cell(stream, 4, scale))], {first: 1}
    merged = {
        Kind.SIMPLE: dict.fromkeys(names, 1),
        Kind.PAIR: {first: 2},
        Kind.MANY: {first: 3, second: 1},
        Kind.CROWDED: dict.fromkeys(names, 2),
    }[kind]
    start = stream.below(_CELLS)
    cells = iter((start + 2 * step) % _CELLS for step in range(_CELLS))
    groups = [_around(stream, next(cells), label, readers, scale) for label, n in merged.items() for _ in range(n)]
    # Radiologist by radiologist, as the file has them: boxes to be merged do not stand next to each other.
    drawn = sorted((one for group in groups for one in group), key=lambda one: one.reader)
    return drawn, merged


def _around(stream: Stream, cell: int, label: str, readers: int, scale: tuple[float, float]) -> list[Drawn]:
    """Boxes of some of the radiologists around one thing; each overlaps every other well."""
    base = _in_cell(stream, cell, scale)
    several = 1 + stream.below(readers)
    return [Drawn(reader, label, base if reader == 0 else _jittered(stream, base)) for reader in range(several)]


def _in_cell(stream: Stream, cell: int, scale: tuple[float, float]) -> Box:
    left, top = (cell % 3 + 0.08) * scale[0], (cell // 3 + 0.08) * scale[1]
    wide, high = (0.5 + stream.below(4) / 16) * scale[0], (0.5 + stream.below(4) / 16) * scale[1]
    return (left, top, left + wide, top + high)


def _jittered(stream: Stream, box: Box) -> Box:
    step = (box[2] - box[0]) / 64, (box[3] - box[1]) / 64
    low, high = stream.below(5) - 2, stream.below(5) - 2
    return (box[0] + low * step[0], box[1] + high * step[1], box[2] + high * step[0], box[3] + low * step[1])


def _shifted(box: Box, share: float) -> Box:
    along = share * (box[2] - box[0])
    return (box[0] + along, box[1], box[2] + along, box[3])


def count(pictures: Sequence[Picture]) -> dict[str, Counts]:
    """Numbers of the three tasks in one split, by task."""
    shown = [picture for picture in pictures if sum(picture.merged.values()) <= 5]
    asked = [(picture, label, boxes) for picture in pictures for label, boxes in picture.merged.items() if boxes <= 2]
    positive = {picture.image_id for picture, _, _ in asked}
    every = positive | set(_negatives(pictures, [label for _, label, _ in asked]))
    boxes = sum(boxes for _, _, boxes in asked)
    return {
        "Abnormality Detection": Counts(len(shown), len(shown), len(shown)),
        "Abnormality Grounding": Counts(2 * len(asked), len(every), len(every)),
        "Grounded Diagnosis": Counts(boxes, len(positive), len(positive)),
    }


def _negatives(pictures: Sequence[Picture], labels: Sequence[str]) -> Iterator[str]:
    """Images that a class is asked of in vain: as many as it is found on, those of the smallest keyed hashes."""
    for label in sorted(set(labels)):
        without = [picture.image_id for picture in pictures if label not in picture.merged]
        without.sort(key=lambda image: _hash(f"{image}/{label}"))
        yield from without[: labels.count(label)]


def _hash(key: str) -> int:
    """The order of the record queries' ``stable_hash(key, 'absent')`` in a build with seed 0."""
    digest = md5(f"0\x1fabsent\x1f{key}".encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[8:], "little") >> 11
