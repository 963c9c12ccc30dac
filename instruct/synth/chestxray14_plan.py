"""What a synthetic ChestX-ray14 holds, decided before a file is written; RSNA's corpus shows images of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from instruct.synth.draw import Drawing, draw_chest
from instruct.synth.keyed import Draws, Ints
from instruct.synth.quota import apportion, choose, scatter, share
from instruct.synth.state import ChestState

# Images of the release with each finding: the weights of the draw.
FINDINGS = {
    "Infiltration": 19894, "Effusion": 13317, "Atelectasis": 11559, "Nodule": 6331, "Mass": 5782,
    "Pneumothorax": 5302, "Consolidation": 4667, "Pleural_Thickening": 3385, "Cardiomegaly": 2776, "Emphysema": 2516,
    "Edema": 2303, "Fibrosis": 1686, "Pneumonia": 1431, "Hernia": 227,
}  # fmt: skip
_FULL_SIZE, _FULL_POSITIVE, _FULL_TEST = 112120, 51759, 25596
_SIZES = (1, 3, 1, 2, 6, 1, 4, 2, 1, 12, 1, 2)
_SIDE = 128
_WORD = 2**64 - 1
SIDE = 1024
"""Height and width of every image of the release, which boxes are given in."""

_PICTURE = {
    "Infiltration": {"opacity": 1}, "Effusion": {"effusion_left": 2}, "Atelectasis": {"opacity": 2},
    "Nodule": {"opacity": 1}, "Mass": {"opacity": 3}, "Pneumothorax": {"pneumothorax": 1},
    "Consolidation": {"opacity": 3}, "Pleural_Thickening": {"effusion_right": 1}, "Cardiomegaly": {"heart": 3},
    "Emphysema": {"hyperinflation": 1}, "Edema": {"opacity": 2}, "Fibrosis": {"opacity": 1},
    "Pneumonia": {"opacity": 3}, "Hernia": {"aorta": 1},
}  # fmt: skip
# Findings that the box file knows, and where the picture shows them.
_BOXED = {
    "Atelectasis": "opacity", "Cardiomegaly": "heart", "Effusion": "left effusion", "Infiltration": "opacity",
    "Mass": "opacity", "Nodule": "opacity", "Pneumonia": "opacity", "Pneumothorax": "pneumothorax",
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A corpus, one value per image in the order of file names unless said otherwise.

    Attributes:
        names: file names.
        patients: patient numbers.
        follow_ups: follow-up numbers.
        labels: findings; none where there is nothing to find.
        splits: train, val or test, by the rule of this package's reader.
        portable: whether the view is AP.
        male: whether the patient is.
        ages: years.
        boxed: images with boxes.
        draws: source of the pictures.
    """

    names: list[str]
    patients: Ints
    follow_ups: Ints
    labels: list[list[str]]
    splits: list[str]
    portable: list[bool]
    male: list[bool]
    ages: Ints
    boxed: frozenset[int]
    draws: Draws

    def drawing(self, k: int) -> Drawing:
        """The picture of an image, at an eighth of its size."""
        state = ChestState(zone=int(self.draws.number("zone", k) % 6))
        for label in self.labels[k]:
            state = replace(state, **_PICTURE[label])
        return draw_chest(state, "frontal", self.draws, k, height=_SIDE, width=_SIDE)

    def boxes(self, k: int) -> list[tuple[str, tuple[float, float, float, float]]]:
        """Boxes of an image: finding and x1, y1, x2, y2 as shares of width and height."""
        if k not in self.boxed:
            return []
        seen = self.drawing(k).boxes
        return [(label, seen[_BOXED[label]]) for label in self.labels[k] if seen.get(_BOXED.get(label, ""))]


def plan_corpus(seed: int, images: int) -> Plan:
    """The corpus of a seed and a number of images."""
    draws = Draws(seed, "chestxray14")
    numbers, sizes, of_patient = _patients(draws, images)
    patient = np.repeat(np.arange(len(sizes)), sizes)
    sequence = np.arange(images) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    backwards = (sizes > 2) & (np.cumsum(sizes > 2) % 4 == 1)
    labels = _labels(draws, images)
    boxable = np.array([k for k in range(images) if set(labels[k]) & set(_BOXED)], dtype=np.int64)
    years = 5 + draws.integers("age", np.arange(len(sizes)), 80)
    return Plan(
        names=[f"{numbers[p]:08d}_{s:03d}.png" for p, s in zip(patient, sequence, strict=True)],
        patients=numbers[patient],
        # The last image of some patients is their first examination: the order of files is not that of time.
        follow_ups=np.where(backwards[patient], sizes[patient] - 1 - sequence, sequence),
        labels=labels,
        splits=[of_patient[p] for p in patient.tolist()],
        portable=(draws.uniform("view", np.arange(images)) < 0.4).tolist(),
        male=(draws.uniform("sex", np.arange(len(sizes))) < 0.56)[patient].tolist(),
        ages=years[patient] + sequence // 3,
        boxed=frozenset(choose(draws, "boxes", boxable, share(880, _FULL_SIZE, images, at_least=8)).tolist()),
        draws=draws.child("pictures"),
    )


def _patients(draws: Draws, images: int) -> tuple[Ints, Ints, list[str]]:
    """Number, images and split of each patient.

    Test patients are random; of the others those of the smallest hashes are val, and hold a tenth of all images.
    """
    test, val = share(_FULL_TEST, _FULL_SIZE, images, at_least=1), -(-images // 10)
    wanted = {name: _sizes(number) for name, number in (("test", test), ("val", val), ("train", images - test - val))}
    count = sum(map(len, wanted.values()))
    numbers = np.cumsum(1 + draws.integers("gap", np.arange(count), 3))
    order = draws.permutation("test", count).tolist()
    tested, rest = order[: len(wanted["test"])], order[len(wanted["test"]) :]
    rest.sort(key=lambda patient: _mixed(int(numbers[patient])))
    places = {"test": tested, "val": rest[: len(wanted["val"])], "train": rest[len(wanted["val"]) :]}
    sizes, splits = np.zeros(count, dtype=np.int64), [""] * count
    for name, patients in places.items():
        for patient, place in zip(patients, draws.permutation(name, len(patients)).tolist(), strict=True):
            sizes[patient], splits[patient] = wanted[name][place], name
    return numbers, sizes, splits


def _sizes(images: int) -> list[int]:
    """Images per patient that add up to a number."""
    sizes: list[int] = []
    while sum(sizes) < images:
        sizes.append(min(_SIZES[len(sizes) % len(_SIZES)], images - sum(sizes)))
    return sizes


def _labels(draws: Draws, images: int) -> list[list[str]]:
    positives = share(_FULL_POSITIVE, _FULL_SIZE, images)
    positive = scatter(draws, "positive", (images - positives, positives)) == 1
    names = tuple(FINDINGS)
    first = scatter(draws, "first", apportion(positives, list(FINDINGS.values()), range(len(names))))
    labels: list[list[str]] = []
    held = iter(first.tolist())
    for k in range(images):
        chosen = {next(held)} if positive[k] else set()
        stream = draws.stream("more", k)
        while chosen and len(chosen) < 4 and stream.chance(0.3):
            chosen.add(stream.below(len(names)))
        labels.append(sorted(names[label] for label in chosen))
    return labels


def _mixed(number: int) -> int:
    """The hash that chooses validation patients: the SplitMix64 finaliser."""
    z = (number + 1) * 0x9E3779B97F4A7C15 & _WORD
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _WORD
    return z ^ (z >> 31)
