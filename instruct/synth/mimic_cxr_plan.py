"""What one split of a synthetic MIMIC-CXR holds, decided before a word is written.

Which study is of which kind depends on the size of the split alone, so that corpora of all seeds have the same
counts; ids, times, states, words and pictures depend on the seed.

Every split, however small, has one study, its *anchor*, that is good for every row of the count table: the second
study of a patient, with both sections, an indication, labels and two views.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from instruct.synth.chains import Chains, draw_chains
from instruct.synth.grammar import TRAP_VOICES, Voice
from instruct.synth.keyed import Draws, Ints
from instruct.synth.mimic_cxr_views import PATTERNS
from instruct.synth.quota import apportion, choose, scatter, share
from instruct.synth.state import StateTable, draw_states


class Layout(IntEnum):
    """Which of findings and impression a report has."""

    BOTH = 0
    IMPRESSION = 1
    FINDINGS = 2
    COMBINED = 3
    """One section "FINDINGS AND IMPRESSION", which counts as the impression."""
    NEITHER = 4
    """Plain paragraphs below another heading: the last of them is the ``last_paragraph``."""


class Labels(IntEnum):
    """What the row of a study in the label table is like."""

    OF_STATE = 0
    """Whatever there is to see."""
    SETTLES = 1
    """Nothing but an uncertain label that counts as present."""
    UNSETTLED = 2
    """Nothing but uncertain labels that do not count as present."""
    NOTHING = 3
    """Zeros and blanks only."""
    NO_ROW = 4


INDICATIONS: Final = ("INDICATION", "HISTORY", "REASON FOR EXAM", "CLINICAL INFORMATION", "blank", "none")
"""Heading under which the indication stands; ``blank``: there is nothing but a removed span; ``none``: no heading."""
VOICES: Final = tuple(Voice)

_LAYOUTS = (60, 18, 10, 6, 6)
_INDICATIONS = (50, 14, 8, 6, 5, 17)
_PAIR_VOICES = (Voice.CHANGE, Voice.PLAIN, Voice.HISTORY, *TRAP_VOICES)
_PAIR_SHARES = (60, 24, 8, 4, 2, 2)
_FIRST_VOICES = (Voice.PLAIN, Voice.HISTORY, *TRAP_VOICES)
_FIRST_SHARES = (76, 16, 4, 2, 2)
_LABELS = (79, 7, 8, 6)
_NO_ROWS = 8
_FIRST_DAY = np.datetime64("2110-01-01")


@dataclass(frozen=True, slots=True)
class Plan:
    """One split, as one value per study unless said otherwise.

    Attributes:
        chains: patients and the order of their studies.
        anchor: the study that is good for every row.
        pattern: index into :data:`~instruct.synth.mimic_cxr_views.PATTERNS`.
        layout: a value of :class:`Layout`.
        findings_voice: index into :data:`VOICES`.
        impression_voice: the same for the impression.
        indication: index into :data:`INDICATIONS`.
        labels: a value of :class:`Labels`.
        day: days since 2110-01-01.
        second: second of the day.
        tied: studies taken at the same time as the one before.
        findings_erased: the findings only point to an earlier study.
        impression_erased: the impression does.
        clock: the impression tells of a telephone call.
        skipped: the official section script passes the report over.
        addendum: the report has an addendum on top, with an impression of its own.
        wet_read: the report has a preliminary reading on top.
        odd_header: a heading is misspelled.
        sub_header: the findings have a heading inside.
        view_header: the heading of the findings is the name of the examination.
        states: what there is to see.
    """

    chains: Chains
    anchor: int
    pattern: Ints
    layout: Ints
    findings_voice: Ints
    impression_voice: Ints
    indication: Ints
    labels: Ints
    day: Ints
    second: Ints
    tied: frozenset[int]
    findings_erased: frozenset[int]
    impression_erased: frozenset[int]
    clock: frozenset[int]
    skipped: frozenset[int]
    addendum: frozenset[int]
    wet_read: frozenset[int]
    odd_header: frozenset[int]
    sub_header: frozenset[int]
    view_header: frozenset[int]
    states: StateTable

    def __len__(self) -> int:
        return len(self.day)

    def dates(self) -> list[str]:
        """Study dates as ``YYYYMMDD``."""
        return [text.replace("-", "") for text in (_FIRST_DAY + self.day).astype(str).tolist()]


def split_sizes(studies: int) -> dict[str, int]:
    """Studies per split: a sixth each for validation and test, not less than 4. Far more than the release has."""
    held_out = share(1, 6, studies, at_least=4)
    return {"train": studies - 2 * held_out, "validate": held_out, "test": held_out}


def plan_split(seed: int, split: str, n: int) -> Plan:
    """Decide everything that is counted in one split of ``n`` studies.

    Args:
        seed: the corpus seed.
        split: published name of the split; train holds the traps that every corpus has.
        n: studies, 4 or more.
    """
    is_train = split == "train"
    draws, kinds = Draws(seed, "mimic_cxr", split), Draws(0, "mimic_cxr", split, "kinds")
    index = np.arange(n, dtype=np.int64)
    pairs = n // 2
    chains = draw_chains(kinds, n, n - pairs, pairs // 4)
    anchor = int(chains.pairs[0])
    others = np.setdiff1d(index, [anchor])
    first = chains.position == 0

    pattern = scatter(kinds, "pattern", apportion(n, [p.weight for p in PATTERNS], range(10) if is_train else ()))
    layout = scatter(kinds, "layout", apportion(n, _LAYOUTS, range(5) if n > 9 else ()))
    indication = scatter(kinds, "indication", apportion(n, _INDICATIONS, range(6) if n > 11 else ()))
    findings_voice = _voices(kinds, "findings voice", first)
    impression_voice = _voices(kinds, "impression voice", first)
    for column, value in ((pattern, 0), (layout, Layout.BOTH), (indication, 0)):
        swap = np.flatnonzero(column == value)[0]  # the anchor takes the kind that another study had
        column[[anchor, swap]] = column[[swap, anchor]]
    findings_voice[anchor] = impression_voice[anchor] = VOICES.index(Voice.CHANGE)

    labels = scatter(kinds, "labels", apportion(n, _LABELS, range(4) if is_train else ()))
    if is_train:
        labels[choose(kinds, "no label row", others, min(_NO_ROWS, max(1, n // 12)))] = Labels.NO_ROW
    labels[anchor] = Labels.OF_STATE

    states = draw_states(draws.child("states"), chains.position)
    wear = VOICES.index(Voice.DEGENERATIVE_CHANGES)
    states.columns["degenerative"][(findings_voice == wear) | (impression_voice == wear)] = 1
    has_findings = np.setdiff1d(np.flatnonzero((layout == Layout.BOTH) | (layout == Layout.FINDINGS)), [anchor])
    has_impression = np.setdiff1d(np.flatnonzero((layout == Layout.BOTH) | (layout == Layout.IMPRESSION)), [anchor])

    def some(name: str, among: Ints, part: float) -> frozenset[int]:
        wanted = max(int(is_train), round(part * len(among)))
        return frozenset(choose(kinds, name, among, wanted).tolist())

    findings_erased = some("findings erased", has_findings, 0.05)
    impression_erased = some("impression erased", has_impression, 0.05)
    lone_impression = np.setdiff1d(has_impression, np.array(sorted(impression_erased), dtype=np.int64))
    written = np.setdiff1d(has_findings, np.array(sorted(findings_erased), dtype=np.int64))
    day, second, tied = _times(draws, chains)
    return Plan(
        chains, anchor, pattern, layout, findings_voice, impression_voice, indication, labels, day, second, tied,
        findings_erased=findings_erased,
        impression_erased=impression_erased,
        clock=some("clock", lone_impression, 0.06),
        skipped=some("skipped", others, 0.01) if is_train else frozenset(),
        addendum=some("addendum", has_impression, 0.08),
        wet_read=some("wet read", others, 0.05),
        odd_header=some("odd header", np.union1d(has_findings, has_impression), 0.04),
        sub_header=some("sub header", written, 0.05),
        view_header=some("view header", written, 0.06),
        states=states,
    )  # fmt: skip


def _voices(draws: Draws, name: str, first: np.ndarray) -> Ints:
    voice = np.zeros(len(first), dtype=np.int64)
    for mask, voices, shares in ((first, _FIRST_VOICES, _FIRST_SHARES), (~first, _PAIR_VOICES, _PAIR_SHARES)):
        kinds = scatter(draws, f"{name} {voices[0].value}", apportion(int(mask.sum()), shares))
        voice[mask] = np.array([VOICES.index(v) for v in voices], dtype=np.int64)[kinds]
    return voice


def _times(draws: Draws, chains: Chains) -> tuple[Ints, Ints, frozenset[int]]:
    """Day and second of each study, and which studies have the time of the one before.

    Every fourth second study of a patient follows on the day of the first, every eighth at the same time.
    """
    n = len(chains.position)
    index = np.arange(n, dtype=np.int64)
    gaps = 1 + (draws.uniform("gap", index) ** 3 * 500).astype(np.int64)
    same_day = np.flatnonzero(chains.position == 1)[1::4]
    gaps[same_day] = 0
    gaps[chains.position == 0] = 0
    run = np.cumsum(gaps)
    first = np.cumsum(chains.lengths) - chains.lengths
    start = draws.integers("day", np.arange(len(chains.lengths), dtype=np.int64), 28_000)
    day = start[chains.patient] + run - run[first][chains.patient]
    second = draws.integers("second", index, 86_400)
    # Before ten o'clock there is no leading zero: such a time sorts last as text.
    second[same_day - 1] = 60 * 60 + draws.integers("early", same_day, 8 * 60 * 60)
    second[same_day] = 10 * 60 * 60 + draws.integers("late", same_day, 13 * 60 * 60)
    tied = same_day[::2]
    second[tied] = second[tied - 1]
    return day, second, frozenset(tied.tolist())
