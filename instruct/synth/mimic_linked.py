"""What corpora about synthetic MIMIC-CXR studies share: choosing images, and counting what was planted."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from instruct.synth.mimic_cxr_corpus import SPLITS, Picture, Study
from instruct.synth.mimic_cxr_views import FRONTALS
from instruct.synth.planted import Counts, SplitFacts


@dataclass(frozen=True, slots=True)
class Example:
    """An example that a row should give.

    Attributes:
        split: train, val or test.
        study: the study it counts as; empty for text that belongs to none.
        images: its images.
    """

    split: str
    study: str
    images: tuple[str, ...] = ()


def count(examples: Iterable[Example]) -> dict[str, Counts]:
    """Numbers of a row of the count table, per split."""
    found = list(examples)
    counts = {}
    for split in SPLITS.values():
        here = [example for example in found if example.split == split]
        images = {image for example in here for image in example.images}
        counts[split] = Counts(len(here), len(images), len({example.study for example in here}))
    return counts


def facts(studies: Iterable[Study], texts: Mapping[str, Sequence[tuple[str, str]]]) -> dict[str, SplitFacts]:
    """Facts per official split.

    Args:
        studies: studies that the corpus is about.
        texts: kind of text to its texts, each with its split.
    """
    found = list(dict.fromkeys(studies))
    result = {}
    for official, split in SPLITS.items():
        here = [study for study in found if study.split == official]
        told = {kind: [text for where, text in every if where == split] for kind, every in texts.items()}
        result[split] = SplitFacts(
            len(here),
            sum(len(study.images) for study in here),
            len({study.subject_id for study in here}),
            {kind: sum(len(text.split()) for text in some) for kind, some in told.items()},
            {kind: len(some) for kind, some in told.items()},
        )
    return result


def frontals(study: Study) -> list[Picture]:
    """Frontal images of a study, in its order."""
    return [picture for picture in study.images if picture.view in FRONTALS]


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; None is a blank cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(header)
        table.writerows(["" if value is None else value for value in row] for row in rows)
