"""What a synthetic Rad-ReStruct corpus holds, decided before a question is written."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from instruct.synth.keyed import Draws
from instruct.synth.openi import image_ids, image_views
from instruct.synth.openi_plan import FULL_SIZE, plan_corpus
from instruct.synth.quota import apportion, choose, share
from instruct.synth.rad_restruct_tree import TOP_QUESTIONS, positive_topics
from instruct.synth.state import ChestState

# Reports, questions and images of the release.
RELEASE = {"train": (2877, 142_340, 2972), "val": (360, 16_874, 374), "test": (360, 17_641, 374)}


@dataclass(frozen=True, slots=True)
class Report:
    """One report.

    Attributes:
        number: report number: that of the OpenI report.
        split: train, val or test.
        images: stems of its frontal images.
        state: what there is to see.
        follow_ups: questions beside those that every report has.
        index: its place in the OpenI corpus.
    """

    number: int
    split: str
    images: tuple[str, ...]
    state: ChestState
    follow_ups: int
    index: int


def plan_reports(studies: int, seed: int) -> list[Report]:
    """The reports about an OpenI corpus of a size and seed, train before val before test, ordered by number.

    Of 3,955 OpenI reports 3,597 are taken, with the release's questions and images; of others in proportion.
    """
    openi_draws, draws = Draws(seed, "openi"), Draws(seed, "rad_restruct")
    openi = plan_corpus(openi_draws, studies)
    frontal = {
        k: tuple(
            name
            for name, view in zip(image_ids(openi_draws, openi, k), image_views(openi, k), strict=True)
            if view == "frontal"
        )
        for k in range(studies)
    }
    several = np.array([k for k, names in frontal.items() if len(names) > 1], np.int64)
    single = np.array([k for k, names in frontal.items() if len(names) == 1], np.int64)
    total = min(len(several) + len(single), share(sum(size for size, *_ in RELEASE.values()), FULL_SIZE, studies))
    sizes = apportion(total, [size for size, *_ in RELEASE.values()], range(3))
    left_several = list(choose(draws, "several", several, len(several)).tolist())
    left_single = list(choose(draws, "single", single, len(single)).tolist())
    reports = []
    for (split, (size, questions, images)), count in zip(RELEASE.items(), sizes, strict=True):
        # Reports that are to have a second image first; a corpus too small for one in each split has them in train.
        extra = min(share(images - size, size, count, at_least=split == "train"), len(left_several), count)
        shows_two = {left_several.pop() for _ in range(extra)}
        chosen = sorted(shows_two) + [(left_single or left_several).pop() for _ in range(count - extra)]
        states = [openi.states.at(k) for k in chosen]
        weights = [len(positive_topics(state)) for state in states]
        wanted = share(questions, size, count, at_least=count * len(TOP_QUESTIONS))
        follow_ups = apportion(wanted - count * len(TOP_QUESTIONS), weights if any(weights) else [1] * count)
        reports += [
            Report(int(openi.numbers[k]), split, frontal[k][: 1 + (k in shows_two)], state, more, k)
            for k, state, more in sorted(zip(chosen, states, follow_ups, strict=True), key=lambda item: item[0])
        ]
    return reports
