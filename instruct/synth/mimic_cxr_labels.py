"""Rows of a synthetic CheXpert label table: 14 labels, each 1, 0, -1 (uncertain) or blank."""

from __future__ import annotations

from instruct.synth.keyed import Stream
from instruct.synth.mimic_cxr_plan import Labels
from instruct.synth.state import ChestState

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
"""In the order of the published table."""
SETTLED_TO_PRESENT = ("Atelectasis", "Edema", "Pleural Effusion")
"""Labels that count as present where they are uncertain."""
_UNSETTLED = ("Cardiomegaly", "Consolidation", "Pneumonia", "Lung Lesion", "Pneumothorax", "Fracture")


def label_values(state: ChestState, kind: Labels, stream: Stream) -> dict[str, float | None] | None:
    """Values of a study's row, in the order of :data:`LABELS`; None for a study without one."""
    if kind is Labels.NO_ROW:
        return None
    values: dict[str, float | None] = dict.fromkeys(LABELS)
    if kind is Labels.OF_STATE:
        _of_state(values, state, stream)
    elif kind is Labels.SETTLES:
        values[stream.pick(SETTLED_TO_PRESENT)] = -1.0
    elif kind is Labels.UNSETTLED:
        values[stream.pick(_UNSETTLED)] = -1.0
    for label in LABELS:
        if values[label] is None and label != "No Finding" and stream.chance(0.15):
            values[label] = 0.0
    return values


def _of_state(values: dict[str, float | None], state: ChestState, stream: Stream) -> None:
    present = {
        "Cardiomegaly": state.heart > 0,
        "Pleural Effusion": state.effusion_right > 0 or state.effusion_left > 0,
        "Lung Opacity": state.opacity > 0,
        "Consolidation": state.opacity == 3,
        "Pneumothorax": state.pneumothorax > 0,
        "Support Devices": state.device > 0,
        "Fracture": state.fracture > 0,
        "Lung Lesion": state.granuloma > 0,
    }
    values |= {label: 1.0 for label, there in present.items() if there}
    if state.opacity == 1:
        values[stream.pick(("Atelectasis", "Pneumonia"))] = -1.0
    if not any(there for label, there in present.items() if label != "Support Devices"):
        values["No Finding"] = 1.0


def is_positive(values: dict[str, float | None] | None) -> bool:
    """Whether a row gives a classification example: some label is present once the uncertain ones are settled."""
    return any(value == 1 or (value == -1 and label in SETTLED_TO_PRESENT) for label, value in (values or {}).items())
