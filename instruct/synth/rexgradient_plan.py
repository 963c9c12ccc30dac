"""What one split of a synthetic REX-Gradient corpus holds, decided before a word is written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from instruct.synth.chains import Chains, Flags, draw_chains, mark_pairs
from instruct.synth.grammar import TRAP_VOICES, Voice
from instruct.synth.keyed import Draws, Floats, Ints
from instruct.synth.quota import apportion, assign_sized, choose, scatter, share
from instruct.synth.rexgradient_views import draw_patterns
from instruct.synth.state import StateTable, draw_states


@dataclass(frozen=True, slots=True)
class Published:
    """Published numbers of one split, and the shares of its age bins and sexes in percent.

    ``*_rows`` are progression examples, ``*_images`` their distinct images, ``unwanted`` the studies that
    summarization drops.
    """

    studies: int
    patients: int
    images: int
    findings_rows: int
    findings_images: int
    impression_rows: int
    impression_images: int
    unwanted: int
    ages: tuple[float, ...]
    sexes: tuple[float, ...]


PUBLISHED: Final = {
    "train": Published(140000, 95716, 238968, 28383, 52857, 20126, 37863, 96,
                       (16.9, 19.4, 25.1, 26.0, 12.6), (49.0, 49.5, 1.5)),
    "val": Published(10000, 6964, 17007, 1950, 3602, 1342, 2500, 6,
                     (17.9, 20.3, 25.5, 24.0, 12.2), (48.3, 50.4, 1.3)),
    "test": Published(10000, 6807, 17029, 2030, 3756, 1474, 2754, 5,
                      (17.3, 19.6, 25.4, 24.5, 13.2), (47.9, 50.3, 1.8)),
}  # fmt: skip
AGE_BINS: Final = ("0-20", "20-40", "40-60", "60-80", "80+")
SEXES: Final = ("M", "F", "unknown")
FULL_SIZE: Final = 160000

PAIR_VOICES: Final = (Voice.CHANGE, *TRAP_VOICES)
FIRST_VOICES: Final = (Voice.PLAIN, Voice.HISTORY, *TRAP_VOICES)
VOICES: Final = tuple(Voice)
_FINDINGS_PAIR, _FINDINGS_FIRST = (86, 8, 3, 3), (76, 16, 6, 1, 1)
_IMPRESSION_PAIR, _IMPRESSION_FIRST = (94, 3, 1, 2), (91, 6, 1, 1, 1)

_YEAR = 365.25
_FIRST_DAY = np.datetime64("2004-01-01")


class Tie(IntEnum):
    """How the order of two studies of one day is decided (values of :attr:`Plan.tie` of the later one)."""

    NONE = 0
    BY_COMPARISON = 1
    BY_KEY = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """One split, as one value per study unless said otherwise.

    Attributes:
        chains: patients and the order of their studies.
        findings_rows: whether the findings give a progression example.
        impression_rows: whether the impression does.
        findings_voice: index into :data:`VOICES`.
        impression_voice: the same for the impression.
        elsewhere: 1 if the only keyword of a pair is in its comparison, 2 if it is in its indication, else 0.
        free: whether comparison and indication may hold a keyword or not, as it comes.
        tie: a value of :class:`Tie`.
        pattern: number of the view pattern.
        unwanted: the impression holds a substring that summarization rejects.
        clock_findings: the findings hold such a substring, the impression does not.
        clock_plain: the impression has a clock time that is not rejected.
        day: days since 2004-01-01.
        age_days: age in days, per study; -1 where the age is missing.
        age_bin: index into :data:`AGE_BINS`.
        sex: index into :data:`SEXES`.
        text_date: the study date is a string.
        states: what there is to see.
    """

    chains: Chains
    findings_rows: Flags
    impression_rows: Flags
    findings_voice: Ints
    impression_voice: Ints
    elsewhere: Ints
    free: Flags
    tie: Ints
    pattern: Ints
    unwanted: frozenset[int]
    clock_findings: frozenset[int]
    clock_plain: frozenset[int]
    day: Ints
    age_days: Ints
    age_bin: Ints
    sex: Ints
    text_date: Flags
    states: StateTable

    def __len__(self) -> int:
        return len(self.day)

    def dates(self) -> list[str]:
        """Study dates as ``YYYYMMDD``."""
        return [text.replace("-", "") for text in (_FIRST_DAY + self.day).astype(str).tolist()]


def split_sizes(studies: int) -> dict[str, int]:
    """Studies per split: a sixteenth each for val and test, not less than 3."""
    held_out = share(1, 16, studies, at_least=3)
    return {"train": studies - 2 * held_out, "val": held_out, "test": held_out}


def plan_split(draws: Draws, published: Published, studies: int) -> Plan:
    """Decide everything that is counted in one split of the given size."""
    p, n = published, studies
    index = np.arange(n, dtype=np.int64)
    full_pairs = p.studies - p.patients
    pairs_wanted = -(-full_pairs * n // p.studies)
    triples = min(share(_triples(p), full_pairs, pairs_wanted, at_least=1), pairs_wanted // 3)
    chains = draw_chains(draws, n, n - pairs_wanted, triples)
    findings_rows, impression_rows = _rows(draws, p, chains)
    pairs = chains.pairs
    first = chains.position == 0
    findings_voice = _voices(draws, "findings", first, findings_rows, _FINDINGS_FIRST, _FINDINGS_PAIR)
    impression_voice = _voices(draws, "impression", first, impression_rows, _IMPRESSION_FIRST, _IMPRESSION_PAIR)
    age_bin = _per_patient(draws, "age", chains, p.ages)
    states = draw_states(draws.child("states"), chains.position)
    for worn in ("degenerative", "aorta", "granuloma"):
        states.columns[worn][age_bin == 0] = 0
    wear = VOICES.index(Voice.DEGENERATIVE_CHANGES)
    states.columns["degenerative"][(findings_voice == wear) | (impression_voice == wear)] = 1

    silent = np.flatnonzero(~first & ~findings_rows & ~impression_rows)
    elsewhere = np.zeros(n, dtype=np.int64)
    elsewhere[silent] = scatter(draws, "elsewhere", apportion(len(silent), (5, 3, 2), (1, 2)))
    free = np.ones(n, dtype=np.bool_)
    free[silent] = False

    tie = np.zeros(n, dtype=np.int64)
    early = np.flatnonzero((chains.position == 1) & (elsewhere == 0))
    ties = choose(draws, "ties", early, share(3, 100, len(pairs), at_least=min(2, len(pairs) - 1)))
    tie[ties] = np.where(np.arange(len(ties)) % 5 < 3, Tie.BY_COMPARISON, Tie.BY_KEY)
    tie[ties[1:2]] = Tie.BY_KEY

    unwanted = choose(draws, "unwanted", index, share(p.unwanted, p.studies, n, at_least=int(n >= 10)))
    rest = np.setdiff1d(index, unwanted)
    some = share(2, 1000, n, at_least=int(n >= 10))
    day, span = _days(draws, chains, tie)
    age_days = _ages(draws, chains, age_bin, day, span)
    age_days[choose(draws, "no age", index, share(4, 1000, n, at_least=int(n >= 10)))] = -1
    text_date = np.zeros(n, dtype=np.bool_)
    text_date[choose(draws, "text date", index, share(5, 100, n, at_least=1))] = True
    return Plan(
        chains, findings_rows, impression_rows, findings_voice, impression_voice, elsewhere, free, tie,
        pattern=draw_patterns(draws, n, share(p.images, p.studies, n)),
        unwanted=frozenset(unwanted.tolist()),
        clock_findings=frozenset(choose(draws, "clock findings", rest, some).tolist()),
        clock_plain=frozenset(choose(draws, "clock plain", rest, some).tolist()),
        day=day, age_days=age_days, age_bin=age_bin, sex=_per_patient(draws, "sex", chains, p.sexes),
        text_date=text_date, states=states,
    )  # fmt: skip


def _triples(p: Published) -> int:
    """Studies with two earlier ones: as many as make the published overlaps what chance would give."""
    pairs = p.studies - p.patients
    findings = (2 * p.findings_rows - p.findings_images) * (pairs / p.findings_rows) ** 2
    impression = (2 * p.impression_rows - p.impression_images) * (pairs / p.impression_rows) ** 2
    return round((findings + impression) / 2)


def _rows(draws: Draws, p: Published, chains: Chains) -> tuple[Flags, Flags]:
    full, pairs = p.studies - p.patients, len(chains.pairs)
    rows = share(p.findings_rows, full, pairs, at_least=1)
    overlap = share(2 * p.findings_rows - p.findings_images, full, pairs, at_least=int(pairs >= 3))
    even = np.full(len(chains.position), rows / pairs)
    findings = mark_pairs(draws, "findings rows", chains, rows, overlap, even)
    rows = share(p.impression_rows, full, pairs, at_least=1)
    overlap = share(2 * p.impression_rows - p.impression_images, full, pairs, at_least=int(pairs >= 12))
    # Both sections of a report tend to speak of change together: 0.56 against 0.26 keeps the published 0.454.
    likely = np.where(findings, 0.56, 0.26)
    impression = mark_pairs(draws, "impression rows", chains, rows, overlap, likely)
    _mix(findings, impression, np.flatnonzero(chains.lengths[chains.patient] == 2), chains.pairs)
    return findings, impression


def _mix(findings: Flags, impression: Flags, of_two: Ints, pairs: Ints) -> None:
    """Give a small corpus a pair with change in the impression alone, and one without any.

    Swaps the impression marks of two pairs that have no neighbours, which leaves all counts as they are.
    """
    lone = np.intersect1d(of_two, pairs)
    kind = 2 * findings.astype(np.int64) + impression
    for wanted, from_kind, to_kind in ((1, 3, 0), (0, 1, 2)):
        giver, taker = lone[kind[lone] == from_kind], lone[kind[lone] == to_kind]
        if not (kind[pairs] == wanted).any() and len(giver) and len(taker):
            impression[giver[0]], impression[taker[0]] = False, True
            kind = 2 * findings.astype(np.int64) + impression


def _voices(
    draws: Draws, name: str, first: Flags, rows: Flags, first_shares: tuple[int, ...], pair_shares: tuple[int, ...]
) -> Ints:
    voice = np.full(len(first), VOICES.index(Voice.PLAIN), dtype=np.int64)
    for which, mask, voices, shares in (
        ("pairs", rows, PAIR_VOICES, pair_shares), ("first", first, FIRST_VOICES, first_shares),
    ):  # fmt: skip
        counts = apportion(int(mask.sum()), shares, range(1, len(shares)) if mask.sum() > 2 * len(shares) else (1,))
        kinds = scatter(draws, f"{name} voice {which}", counts)
        voice[mask] = np.array([VOICES.index(v) for v in voices], dtype=np.int64)[kinds]
    return voice


def _per_patient(draws: Draws, name: str, chains: Chains, shares: tuple[float, ...]) -> Ints:
    quotas = apportion(len(chains.position), shares)
    of_patient = assign_sized(draws, name, chains.lengths, quotas)
    of_study: Ints = of_patient[chains.patient]
    return of_study


def _days(draws: Draws, chains: Chains, tie: Ints) -> tuple[Ints, Ints]:
    """Study days, and per patient the days from the first study to the last."""
    index = np.arange(len(chains.position), dtype=np.int64)
    gaps = 1 + (draws.uniform("gap", index) ** 3 * 420).astype(np.int64)
    gaps[(chains.position == 0) | (tie > 0)] = 0
    run = np.cumsum(gaps)
    first = np.cumsum(chains.lengths) - chains.lengths
    since_first = run - run[first][chains.patient]
    start = draws.integers("day", np.arange(len(chains.lengths), dtype=np.int64), 6000)
    return start[chains.patient] + since_first, since_first[first + chains.lengths - 1]


def _ages(draws: Draws, chains: Chains, age_bin: Ints, day: Ints, span: Ints) -> Ints:
    """Age in days at each study, never at a bin edge: no age in years is 20, 40, 60 or 80."""
    patients = np.arange(len(chains.lengths), dtype=np.int64)
    first = np.cumsum(chains.lengths) - chains.lengths
    low = np.array([0, 21, 41, 61, 81])[age_bin[first]] * _YEAR + 2
    high = np.array([20, 40, 60, 80, 98])[age_bin[first]] * _YEAR - 2 - span
    start: Floats = low + draws.uniform("age", patients) * np.maximum(high - low, 0)
    children = np.flatnonzero(age_bin[first] == 0)
    infants = children[draws.permutation("infants", len(children))][: max(3, len(children) // 12)]
    limits = np.array([25, 80, 650])[np.arange(len(infants)) % 3]
    start[infants] = 2 + draws.uniform("infant", infants) * (limits - 2)
    whole: Ints = start.astype(np.int64)[chains.patient] + day - day[first][chains.patient]
    return whole
