"""Sections of a synthetic RadQA report, and questions whose answers stand in them at known places."""

from __future__ import annotations

from dataclasses import dataclass

from instruct.synth import phrases
from instruct.synth.keyed import Stream
from instruct.synth.state import DEVICES, ZONES, ChestState

_WIDTH = 56

QUESTIONS = {
    "heart": ("Is the heart enlarged?", "How large is the heart?"),
    "opacity": ("Is there pneumonia?", "Could an infection explain the fever?", "Are the lungs clear?"),
    "effusion": ("Is there fluid around the lungs?", "Has an effusion formed?"),
    "pneumothorax": ("Is there a pneumothorax?", "Is there air outside of the lung after the procedure?"),
    "device": ("Is the line in place?", "Which devices does the patient have?"),
    "bleeding": ("Is there bleeding?", "Has the patient bled into the head?"),
    "embolism": ("Is there a pulmonary embolism?", "Is there a clot?"),
    "stone": ("Is there a kidney stone?", "Why does the flank hurt?"),
}
"""Topic to its questions. No section of a chest report speaks of the last three."""

_HEAD = {
    "findings": {
        "bleeding": "No blood is seen within the skull.",
        "other": "The ventricles are of normal size. The bones of the skull are intact.",
    },
    "impression": {"bleeding": "No bleeding.", "other": "Normal study of the head."},
}


@dataclass(frozen=True, slots=True)
class Section:
    """A section.

    Attributes:
        text: as it stands, lines broken and heading included.
        spans: topic to the start and the end of what the section says about it.
    """

    text: str
    spans: dict[str, tuple[int, int]]


def chest_sections(state: ChestState, stream: Stream) -> dict[str, Section]:
    """Findings and impression of a chest report."""
    findings = {
        "heart": stream.pick(phrases.HEART[state.heart]),
        "opacity": stream.pick(phrases.OPACITY[state.opacity]),
        "effusion": stream.pick(phrases.EFFUSION[state.effusion_left]),
        "pneumothorax": stream.pick(phrases.PNEUMOTHORAX if state.pneumothorax else phrases.NO_PNEUMOTHORAX),
    }
    if state.device:
        findings["device"] = stream.pick(phrases.DEVICE)
    findings["other"] = stream.pick(phrases.FILLERS[0])
    impression = {}
    if state.opacity:
        impression["opacity"] = stream.pick(phrases.OPACITY_IMPRESSION[state.opacity])
    if state.effusion_left:
        impression["effusion"] = stream.pick(phrases.EFFUSION_IMPRESSION[state.effusion_left])
    impression["other"] = stream.pick(phrases.ADVICE if impression else phrases.NORMAL_IMPRESSION)
    device = DEVICES[state.device]
    slots = {
        "[zone]": ZONES[state.zone],
        "[side]": "left" if state.pneumothorax != 1 else "right",
        "[Device]": device[:1].upper() + device[1:],
    }
    return {
        name: _section(name, {topic: _filled(text, slots) for topic, text in said.items()}, stream)
        for name, said in (("findings", findings), ("impression", impression))
    }


def head_sections(stream: Stream) -> dict[str, Section]:
    """Findings and impression of a report on the head: the collection is not of chest films alone."""
    return {name: _section(name, said, stream) for name, said in _HEAD.items()}


def _filled(text: str, slots: dict[str, str]) -> str:
    for slot, value in slots.items():
        text = text.replace(slot, value)
    return text


def _section(name: str, said: dict[str, str], stream: Stream) -> Section:
    """Run sentences together below a heading, and break lines; a break takes the place of a blank: no place moves."""
    text = f"{name.upper()}:"
    if stream.chance(0.3):
        text = f"\n {text}"  # whoever trims the section moves every answer
    spans = {}
    for topic, sentence in said.items():
        text += " "
        if topic != "other":
            spans[topic] = (len(text), len(text) + len(sentence) - 1)  # without its full stop
        text += sentence
    broken = list(text)
    last_blank = line_start = 0
    for place, letter in enumerate(text):
        if letter == " ":
            last_blank = place
        if place - line_start > _WIDTH and last_blank > line_start:
            broken[last_blank] = "\n"
            line_start = last_blank
    return Section("".join(broken), spans)
