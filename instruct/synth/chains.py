"""Patients with several studies, and which of those studies speak of change: exact by construction.

A *pair* is a study and the study of the same patient just before it; it is named by the later study. Studies are
numbered so that a patient's studies stand next to each other, oldest first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from instruct.synth.keyed import Draws, Ints

Flags = NDArray[np.bool_]
_LONG_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Chains:
    """Who has which studies.

    Attributes:
        lengths: studies per patient.
        patient: patient of each study.
        position: how many earlier studies the patient has, per study; 0 for a first study.
    """

    lengths: Ints
    patient: Ints
    position: Ints

    @property
    def pairs(self) -> Ints:
        """Studies that have an earlier one."""
        return np.flatnonzero(self.position > 0)


def draw_chains(draws: Draws, studies: int, patients: int, triples: int) -> Chains:
    """Spread studies over patients.

    Args:
        draws: source of randomness.
        studies: number of studies.
        patients: number of patients, at most ``studies``.
        triples: number of studies with two or more earlier ones; at most ``studies - patients``, and less than
            that where there is a pair at all.
    """
    pairs = studies - patients
    several = pairs - triples
    lengths = np.ones(patients, dtype=np.int64)
    lengths[:several] += 1
    places = draws.integers("long", np.arange(triples, dtype=np.int64), max(1, round(_LONG_SHARE * several)))
    lengths += np.bincount(places, minlength=patients).astype(np.int64)
    lengths = lengths[draws.permutation("patients", patients)]
    patient = np.repeat(np.arange(patients, dtype=np.int64), lengths)
    position = np.arange(studies, dtype=np.int64) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return Chains(lengths, patient, position)


def mark_pairs(draws: Draws, name: str, chains: Chains, rows: int, overlap: int, likely: NDArray[np.float64]) -> Flags:
    """Choose the pairs whose later study speaks of change.

    Args:
        draws: source of randomness.
        name: name of the draw.
        chains: the patients.
        rows: how many pairs to choose.
        overlap: how many studies are to be the later study of one chosen pair and the earlier study of the next.
        likely: probability of being chosen, per study, before the two numbers are enforced.

    Returns:
        Per study, whether it is chosen. ``rows`` and ``overlap`` hold exactly where chains allow both.
    """
    n = len(chains.position)
    index = np.arange(n, dtype=np.int64)
    is_pair = chains.position > 0
    in_long = is_pair & (chains.lengths[chains.patient] > 2)
    chosen = in_long & (draws.uniform(name, index) < likely)
    _enforce_overlap(chosen, in_long, overlap, draws.permutation(f"{name}/repair", n))
    single = np.flatnonzero(is_pair & ~in_long)
    wanted = min(len(single), max(0, rows - int(chosen.sum())))
    # The smallest of u / probability is a weighted choice without repetition (to the accuracy needed here).
    order = np.argsort(draws.uniform(f"{name}/single", single) / likely[single], kind="stable")
    chosen[single[order[:wanted]]] = True
    return chosen


def count_overlap(chosen: Flags) -> int:
    """Studies that are the later study of one chosen pair and the earlier study of the next.

    Two neighbours that are both chosen belong to one patient, because a first study is never chosen.
    """
    return int((chosen[:-1] & chosen[1:]).sum())


def _enforce_overlap(chosen: Flags, allowed: Flags, overlap: int, order: Ints) -> None:
    """Flip single pairs until the overlap is as asked, or as near as the chains allow.

    Taking out the end of a run lowers it by one, adding a neighbour raises it by one, closing a gap by two; a new
    run (when nothing else is left) leaves it but gives the next round neighbours to add.
    """
    missing = overlap - count_overlap(chosen)
    candidates = order[allowed[order]].tolist()
    stuck = False
    while missing:
        before = missing
        for k in candidates:
            neighbours = int(chosen[k - 1]) + int(k + 1 < len(chosen) and chosen[k + 1])
            if missing < 0 and chosen[k] and neighbours == 1:
                chosen[k] = False
                missing += 1
            elif missing > 0 and not chosen[k] and (1 <= neighbours <= missing or stuck):
                chosen[k] = True
                missing -= neighbours
            if not missing:
                return
        if missing == before and stuck:
            return
        stuck = missing == before
