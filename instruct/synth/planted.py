"""What a synthetic corpus contains, known because the generator put it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counts:
    """One cell group of the count table: a row's numbers in one split.

    Attributes:
        examples: instruction examples that the row's rule gives.
        images: distinct images in those examples (0 for text-only tasks).
        studies: distinct studies in those examples.
    """

    examples: int
    images: int
    studies: int


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """Facts about everything written into one split, for checks of dataset statistics.

    Attributes:
        studies: studies written.
        images: images listed by the metadata (written as files when images were asked for).
        patients: distinct patients, or None where the source has no patient id.
        words: per section, whitespace-separated words summed over its texts.
        texts: per section, how many studies have a text that is not missing and not blank.
        ages: studies per age bin (``0-20`` … ``80+``, ``missing``); empty where the source has no ages.
        sexes: studies per sex (``M``, ``F``, ``unknown``); empty where the source has no sexes.
        views: images per view label (``null`` for a missing label); empty where there are no labels.
        key_views: studies per view label of the image that the key-image rule picks.
    """

    studies: int
    images: int
    patients: int | None
    words: Mapping[str, int]
    texts: Mapping[str, int]
    ages: Mapping[str, int] = field(default_factory=dict)
    sexes: Mapping[str, int] = field(default_factory=dict)
    views: Mapping[str, int] = field(default_factory=dict)
    key_views: Mapping[str, int] = field(default_factory=dict)

    def mean_words(self, section: str) -> float:
        """Mean whitespace words of a section over all studies of the split (a missing text counts 0 words)."""
        return self.words[section] / self.studies


@dataclass(frozen=True, slots=True)
class Planted:
    """Everything a corpus is known to contain.

    Attributes:
        source: name of the source, as in :data:`instruct.synth.SOURCES`.
        counts: row name as printed in the count table (``[Task] [Dataset]``) → split → numbers.
            Every row has all of ``train``, ``val``, ``test``.
        distractors: planted traps by name → how many there are in the whole corpus.
        splits: facts per split that holds studies.
    """

    source: str
    counts: Mapping[str, Mapping[str, Counts]]
    distractors: Mapping[str, int]
    splits: Mapping[str, SplitFacts]
