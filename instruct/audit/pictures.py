"""Images that stand in two splits under different names: the same pixels, or the same picture otherwise stored.

Copies are looked for with the 64-bit perceptual hash: two hashes that agree in one of their four quarters and differ
in at most :data:`_MOST_BITS` bits make a candidate (every pair within three bits is one). Chest radiographs resemble
each other, so a candidate counts only if the fine detail of both agrees too: pixels of 192 x 192, without what a
64 x 64 picture holds of them, correlated. Of real radiographs, copies (half the size, JPEG of quality 50, another
gamma) had 0.82 to 0.99 and different ones at most 0.32. A cropped or turned copy is not found, and pictures of a side
below :data:`_SMALLEST` pixels, which have too little detail, are compared by their pixels alone.

One pair in some thousands of different pictures is a candidate, too many of a large corpus to decode them again. So of
each picture's detail a sketch is kept, on which side of 256 random planes it lies (Charikar, "Similarity Estimation
Techniques from Rounding Algorithms", 2002): bits differ in proportion to the angle between two details. At the least
correlation that counts 52 of them differ on average, and more than :data:`_MOST_PLANES` in one pair of a hundred
thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from instruct.audit.shards import Group, read
from instruct.images.backend import backend
from instruct.images.decode import decode
from instruct.images.fault import ImageFault
from instruct.images.hashes import content_hash, differing_bits, perceptual_hash
from instruct.images.store import read_image_file
from instruct.images.window import to_grey

_SIDE = 512
_MOST_BITS = 8
_DETAIL, _COARSE = 192, 64
_FEWEST_CORRELATION = 0.8
_SMALLEST = 256
_PLANES, _MOST_PLANES = 256, 80
_DETAILS_KEPT = 1000
# Hashes compared with all others of a block at a time.
_BLOCK = 2000

Grey = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class AlikeImages:
    """Two images of different keys with the same content.

    Attributes:
        first: group (by place) of one, in the less protected split.
        second: group of the other.
        keys: their keys.
        correlation: agreement of their fine detail, 1 where every pixel is equal.
    """

    first: int
    second: int
    keys: tuple[str, str]
    correlation: float


@dataclass(frozen=True)
class Pictures:
    """What was found.

    Attributes:
        pairs: images alike, ordered by groups and keys.
        looked_at: number of images decoded.
        left_out: images that are not on disk or cannot be decoded: reason to number.
    """

    pairs: list[AlikeImages]
    looked_at: int
    left_out: dict[str, int]


@dataclass(frozen=True)
class _Look:
    """What an image shows: hashes, and a sketch of its detail where it is large enough for that."""

    content: str
    perceptual: int
    sketch: Bits | None


@dataclass
class _Held:
    """An image key: the groups that hold it, and whose it is."""

    groups: set[int]
    owners: set[str]


def alike_images(groups: Sequence[Group], roots: Mapping[str, Path], threads: int = 1) -> Pictures:
    """Pairs of images, of different studies and patients, that are alike and stand in two splits.

    Args:
        groups: the groups of a build.
        roots: source to the folder that its image keys are paths below.
        threads: images decoded at a time.
    """
    held = _held(groups)
    keys = sorted(held)
    with ThreadPoolExecutor(threads) as pool:
        looks = list(pool.map(partial(_look, roots), keys))
    left_out: dict[str, int] = {}
    for look in looks:
        if isinstance(look, str):
            left_out[look] = left_out.get(look, 0) + 1
    seen = [(key, look) for key, look in zip(keys, looks, strict=True) if not isinstance(look, str)]
    names = [key for key, _ in seen]
    ranks = [sum(1 << rank for rank in {groups[place].rank for place in held[name].groups}) for name in names]
    candidates = _candidates([look for _, look in seen], np.array(ranks, np.uint8))

    @lru_cache(_DETAILS_KEPT)  # candidates come in order, and pictures alike are candidates many times
    def detail(key: str) -> npt.NDArray[np.float32]:
        return _detail(_grey(roots, key))

    pairs = []
    for a, b in candidates.tolist():
        one, two = held[names[a]], held[names[b]]
        if one.owners & two.owners:
            continue
        same = seen[a][1].content == seen[b][1].content
        agreement = 1.0 if same else float(detail(names[a]) @ detail(names[b]))
        if agreement < _FEWEST_CORRELATION:
            continue
        for x, y in ((x, y) for x in one.groups for y in two.groups if groups[x].split != groups[y].split):
            low = groups[x].rank < groups[y].rank
            place = (x, y, (names[a], names[b])) if low else (y, x, (names[b], names[a]))
            pairs.append(AlikeImages(*place, agreement))
    pairs.sort(key=lambda pair: (pair.first, pair.second, pair.keys))
    return Pictures(pairs, len(seen), dict(sorted(left_out.items())))


def _held(groups: Sequence[Group]) -> dict[str, _Held]:
    held: dict[str, _Held] = {}
    for place, group in enumerate(groups):
        for file in group.files:
            for batch in read(file, ["keys"]):
                for keys in batch.column("keys").to_pylist():
                    studies = keys["studies"] if len(keys["studies"]) == 1 else []
                    owners = {*studies, *([keys["patient"]] if keys["patient"] else [])}
                    for image in keys["images"]:
                        item = held.setdefault(image, _Held(set(), set()))
                        item.groups.add(place)
                        item.owners |= owners
    return held


def _look(roots: Mapping[str, Path], key: str) -> _Look | str:
    """Hashes and sketch of an image, or why there are none."""
    try:
        grey = _grey(roots, key)
    except ImageFault as fault:
        return str(fault.reason)
    sketch = np.packbits(_planes() @ _detail(grey) > 0).view(np.uint64) if min(grey.shape) >= _SMALLEST else None
    return _Look(content_hash(grey), int(perceptual_hash(grey)), sketch)


@cache
def _planes() -> npt.NDArray[np.float32]:
    """Random planes, as vectors of 1 and -1: the same with every version of NumPy."""
    raw = np.random.PCG64(0).random_raw(_PLANES * _DETAIL**2 // 64)
    signs = np.unpackbits(np.asarray(raw, "<u8").view(np.uint8)).astype(np.float32) * 2 - 1
    return signs.reshape(_PLANES, _DETAIL**2)


def _grey(roots: Mapping[str, Path], key: str) -> Grey:
    source, _, path = key.partition("/")
    data = read_image_file(roots.get(source, Path("/nonexistent")), path, links=True)
    decoded = decode(data, "short", _SIDE, backend("pillow"))
    return to_grey(decoded.values, decoded.display)[0]


def _candidates(looks: Sequence[_Look], ranks: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
    """Pairs of places whose images may be alike and stand in two splits, each once and in order.

    Args:
        looks: what the images show.
        ranks: a bit for each split that an image is in.
    """
    hashes = np.array([look.perceptual for look in looks], np.uint64)
    content = np.unique([look.content for look in looks], return_inverse=True)[1]
    large = np.array([look.sketch is not None for look in looks], bool)
    nothing = np.zeros(_PLANES // 64, np.uint64)
    sketches = np.array([nothing if look.sketch is None else look.sketch for look in looks], np.uint64)
    found: list[npt.NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for quarter in range(4):
        part = (hashes >> np.uint64(16 * quarter)) & np.uint64(0xFFFF)
        order = np.argsort(part, kind="stable")
        for block in _equal(part[order], order):
            for start in range(0, len(block), _BLOCK):
                some = block[start : start + _BLOCK]
                near = differing_bits(hashes[some][:, None], hashes[block][None, :]) <= _MOST_BITS
                one, two = (places[which] for places, which in zip((some, block), np.nonzero(near), strict=True))
                apart = (one < two) & ((ranks[one] | ranks[two]) & ((ranks[one] | ranks[two]) - 1) != 0)
                one, two = one[apart], two[apart]
                planes = differing_bits(sketches[one], sketches[two]).sum(axis=1)
                alike = (content[one] == content[two]) | (large[one] & large[two] & (planes <= _MOST_PLANES))
                found.append(np.stack([one[alike], two[alike]], 1))
    return np.unique(np.concatenate(found), axis=0)


def _equal(values: npt.NDArray[np.uint64], places: npt.NDArray[np.int64]) -> Iterable[npt.NDArray[np.int64]]:
    """Places of equal values, where there are several; the values are sorted."""
    bounds = np.flatnonzero(values[1:] != values[:-1]) + 1
    return [block for block in np.split(places, bounds) if len(block) > 1]


def _detail(grey: Grey) -> npt.NDArray[np.float32]:
    """Fine detail of a picture, as a vector of length 1 (0 where it has none)."""
    image = Image.fromarray(grey)
    side, coarse = (_DETAIL, _DETAIL), (_COARSE, _COARSE)
    fine = np.asarray(image.resize(side, Image.Resampling.BOX), np.float64)
    plain = np.asarray(image.resize(coarse, Image.Resampling.BOX).resize(side, Image.Resampling.BICUBIC), np.float64)
    vector = (fine - plain).ravel()
    vector -= vector.mean()
    length = float(np.linalg.norm(vector))
    return (vector / length if length else vector).astype(np.float32)
