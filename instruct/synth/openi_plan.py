"""What a synthetic OpenI corpus holds, decided before a word is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instruct.synth.grammar import TRAP_VOICES, Voice
from instruct.synth.keyed import Draws, Ints
from instruct.synth.planted import Counts
from instruct.synth.quota import apportion, choose, scatter, share
from instruct.synth.state import StateTable, draw_states

FULL_SIZE = 3955

# (findings filled, impression filled, images) → reports of the published collection
_CELLS = {
    (True, True, 2): 2784, (False, True, 2): 405, (True, True, 1): 382, (True, True, 3): 150, (True, True, 0): 88,
    (True, False, 2): 6, (True, True, 4): 14, (True, True, 5): 1, (False, False, 2): 13, (False, True, 1): 53,
    (False, True, 3): 30, (False, True, 0): 13, (False, False, 1): 11, (False, False, 0): 3, (False, True, 4): 1,
    (False, False, 3): 1,
}  # fmt: skip
KINDS = tuple(_CELLS)
"""Kinds of report: findings filled, impression filled, number of images."""
_ALWAYS = range(1, 9)
_GAPS = 44
VOICES = (Voice.PLAIN, Voice.HISTORY, *TRAP_VOICES)
"""Voices of the two sections, in the order of :attr:`Plan.findings_voice` and :attr:`Plan.impression_voice`."""
_FINDINGS_SHARES = (60, 28, 9, 1, 2)
_IMPRESSION_SHARES = (86, 10, 2, 1, 1)
_ID_SHARES = (6906, 404, 71, 61, 26)


@dataclass(frozen=True, slots=True)
class Plan:
    """Per report, by its place in the order of file numbers.

    Attributes:
        numbers: file number.
        cells: index into :data:`KINDS`.
        findings_voice: index into :data:`VOICES`.
        impression_voice: the same for the impression.
        id_form: which form the image ids have.
        blank: reports whose empty findings are written as blanks.
        padded: reports whose findings have blanks around and inside.
        mixed: reports whose findings have an element inside the text.
        escaped: reports whose findings need XML escapes.
        lateral_first: reports whose first image is a lateral view.
        rgb: reports whose images are written as colour PNGs.
        states: what there is to see.
    """

    numbers: Ints
    cells: Ints
    findings_voice: Ints
    impression_voice: Ints
    id_form: Ints
    blank: frozenset[int]
    padded: frozenset[int]
    mixed: frozenset[int]
    escaped: frozenset[int]
    lateral_first: frozenset[int]
    rgb: frozenset[int]
    states: StateTable


def plan_corpus(draws: Draws, studies: int) -> Plan:
    """Decide everything that is counted in a corpus of the given size."""
    gaps = share(_GAPS, FULL_SIZE, studies, at_least=2)
    inner = np.arange(2, studies + gaps, dtype=np.int64)
    numbers = np.setdiff1d(np.arange(1, studies + gaps + 1, dtype=np.int64), choose(draws, "gaps", inner, gaps))
    cells = scatter(draws, "cells", apportion(studies, list(_CELLS.values()), _ALWAYS))
    first = int(np.flatnonzero(cells == 0)[0])  # report 1 is the one whose image ids have an extra part
    cells[[0, first]] = cells[[first, 0]]
    index = np.arange(studies, dtype=np.int64)
    images = np.array([n for _, _, n in KINDS])[cells]
    has_findings = np.array([f for f, _, _ in KINDS])[cells]
    has_impression = np.array([i for _, i, _ in KINDS])[cells]
    findings_voice = _voices(draws, "findings voice", has_findings, _FINDINGS_SHARES)
    impression_voice = _voices(draws, "impression voice", has_impression, _IMPRESSION_SHARES)
    states = draw_states(draws.child("states"), np.zeros(studies, dtype=np.int64))
    wear = VOICES.index(Voice.DEGENERATIVE_CHANGES)
    states.columns["degenerative"][(findings_voice == wear) | (impression_voice == wear)] = 1
    plain = index[has_findings & (findings_voice == 0)]
    several = index[(images > 1) & (index > 0)]

    def some(name: str, among: Ints, part: float) -> frozenset[int]:
        return frozenset(choose(draws, name, among, max(1, round(part * len(among)))).tolist())

    mixed = some("mixed", plain, 0.001)
    rest = np.setdiff1d(plain, np.array(sorted(mixed)))
    return Plan(
        numbers, cells, findings_voice, impression_voice,
        id_form=scatter(draws, "id form", apportion(studies, _ID_SHARES, range(1, 5))),
        blank=some("blank", index[~has_findings], 0.1),
        padded=some("padded", rest, 0.01),
        mixed=mixed,
        escaped=some("escaped", rest, 0.002),
        lateral_first=some("lateral first", several, 0.12),
        rgb=some("rgb", index[images > 0], 0.1),
        states=states,
    )  # fmt: skip


def _voices(draws: Draws, name: str, filled: NDArray[np.bool_], shares: tuple[int, ...]) -> Ints:
    voices = np.zeros(len(filled), dtype=np.int64)
    voices[filled] = scatter(draws, name, apportion(int(filled.sum()), shares, range(1, len(shares))))
    return voices


def planted_counts(plan: Plan) -> dict[str, dict[str, Counts]]:
    """Count-table rows of a plan."""
    cells = [KINDS[cell] for cell in plan.cells]
    nothing = Counts(0, 0, 0)

    def row(kept: list[int], *, with_images: bool = True) -> dict[str, Counts]:
        test = Counts(len(kept), sum(kept) if with_images else 0, len(kept))
        return {"train": nothing, "val": nothing, "test": test}

    return {
        "[Findings Generation] [OpenI]": row([n for f, _, n in cells if f and n]),
        "[Impression Generation] [OpenI]": row([n for _, i, n in cells if i and n]),
        "[Findings Summarization] [OpenI]": row([n for f, i, n in cells if f and i], with_images=False),
    }


def planted_traps(plan: Plan) -> Counter[str]:
    """Traps of a plan; ``reports_with_removed_span`` is left for the writer to count."""
    kinds = [KINDS[cell] for cell in plan.cells]
    third = [n for (_, _, n), form in zip(kinds[1:], plan.id_form[1:], strict=True) if form == 1]
    traps = Counter(
        reports_without_image=sum(n == 0 for _, _, n in kinds),
        empty_findings=sum(not f for f, _, _ in kinds),
        empty_findings_of_blanks_only=len(plan.blank),
        empty_impression=sum(not i for _, i, _ in kinds),
        findings_with_mixed_content=len(plan.mixed),
        findings_with_escaped_characters=len(plan.escaped),
        findings_with_outer_blanks=len(plan.padded),
        image_ids_with_extra_part=2,
        image_ids_with_third_number=sum(third),
        reports_listing_lateral_first=len(plan.lateral_first),
        reports_with_colour_images=len(plan.rgb),
        reports_with_removed_span=0,
    )
    for i, voice in enumerate(VOICES[1:], 1):
        kind = "history_keyword" if voice is Voice.HISTORY else f"substring_trap_{voice.value.replace(' ', '_')}"
        traps[f"findings_{kind}"] = int((plan.findings_voice == i).sum())
        traps[f"impression_{kind}"] = int((plan.impression_voice == i).sum())
    return traps
