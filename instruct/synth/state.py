"""The condition of a chest: one small record that the words and the picture of a study both follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from instruct.synth.keyed import Draws, Ints

ZONES = ("right upper", "right mid", "right lower", "left upper", "left mid", "left lower")
"""Lung zones by patient side, in the order of :attr:`ChestState.zone`."""

DEVICES = ("", "right central venous catheter", "left chest wall pacemaker", "right chest port", "endotracheal tube")
"""Devices in the order of :attr:`ChestState.device`; the first means none."""


@dataclass(frozen=True, slots=True)
class ChestState:
    """What there is to see in one study.

    Attributes:
        heart: 0 normal, 1 mildly, 2 moderately, 3 severely enlarged.
        effusion_right: right pleural effusion: 0 none, 1 small, 2 moderate, 3 large.
        effusion_left: the same on the left.
        opacity: lung opacity: 0 none, 1 faint, 2 moderate, 3 dense.
        zone: index into :data:`ZONES` of that opacity (also set where there is none).
        pneumothorax: 0 none, 1 right, 2 left.
        device: index into :data:`DEVICES`.
        hyperinflation: 1 if the lungs are overinflated.
        degenerative: 1 if the spine shows wear.
        granuloma: 1 if there is a calcified granuloma.
        aorta: 1 if the aorta is tortuous or calcified.
        fracture: 1 if there is an old rib fracture.
    """

    heart: int = 0
    effusion_right: int = 0
    effusion_left: int = 0
    opacity: int = 0
    zone: int = 2
    pneumothorax: int = 0
    device: int = 0
    hyperinflation: int = 0
    degenerative: int = 0
    granuloma: int = 0
    aorta: int = 0
    fracture: int = 0

    @property
    def acute(self) -> bool:
        """Whether there is an opacity, an effusion or a pneumothorax."""
        return bool(self.opacity or self.effusion_right or self.effusion_left or self.pneumothorax)

    @property
    def normal(self) -> bool:
        """Whether nothing at all deviates; a device counts as a deviation."""
        return not (
            self.acute
            or self.heart
            or self.device
            or self.hyperinflation
            or self.degenerative
            or self.granuloma
            or self.aorta
            or self.fracture
        )


_FIELDS = tuple(field.name for field in fields(ChestState))
_SHARES: dict[str, Sequence[float]] = {
    "heart": (0.66, 0.17, 0.11, 0.06),
    "effusion_right": (0.84, 0.10, 0.04, 0.02),
    "effusion_left": (0.82, 0.11, 0.05, 0.02),
    "opacity": (0.62, 0.18, 0.14, 0.06),
    "zone": (0.1, 0.14, 0.27, 0.09, 0.12, 0.28),
    "pneumothorax": (0.96, 0.02, 0.02),
    "device": (0.80, 0.07, 0.05, 0.04, 0.04),
    "hyperinflation": (0.88, 0.12),
    "degenerative": (0.78, 0.22),
    "granuloma": (0.93, 0.07),
    "aorta": (0.88, 0.12),
    "fracture": (0.96, 0.04),
}
_PASSING = ("heart", "effusion_right", "effusion_left", "opacity", "pneumothorax", "device")
_HEALTHY_SHARE = 0.3
_MOVES_SHARE = 0.4


class StateTable:
    """States of many studies as columns.

    Args:
        columns: field name → one small integer per study.
    """

    def __init__(self, columns: dict[str, NDArray[np.int8]]) -> None:
        self.columns = columns

    def at(self, index: int) -> ChestState:
        """State of one study."""
        return ChestState(*[int(self.columns[name][index]) for name in _FIELDS])


def draw_states(draws: Draws, positions: Ints) -> StateTable:
    """States of studies whose patients' studies stand next to each other, oldest first.

    A patient's first study is drawn afresh; each later one keeps the chronic findings of the one before it and
    redraws each of the others with a probability of 0.4, so that reports have something to compare.

    Args:
        draws: source of randomness.
        positions: number of earlier studies of the same patient, per study: 0, 0, 1, 2, 0, …

    Returns:
        One state per study.
    """
    index = np.arange(len(positions), dtype=np.int64)
    columns: dict[str, NDArray[np.int8]] = {}
    healthy = draws.uniform("healthy", index) < _HEALTHY_SHARE
    for name in _FIELDS:
        steps = np.cumsum(_SHARES[name])[:-1]
        column = np.searchsorted(steps, draws.uniform(name, index), side="right").astype(np.int8)
        if name != "zone":
            column[healthy] = 0
        columns[name] = column
    for position in range(1, int(positions.max(initial=0)) + 1):
        here = index[positions == position]
        for name in _FIELDS:
            moves = draws.uniform(f"{name}/moves", here) < _MOVES_SHARE
            kept = here[~moves] if name in _PASSING else here
            columns[name][kept] = columns[name][kept - 1]
        same_place = here[columns["opacity"][here - 1] > 0]
        columns["zone"][same_place] = columns["zone"][same_place - 1]
    return StateTable(columns)
