"""Report text of a chest state: indication, comparison, findings and impression that agree with each other.

A section is worded in one of four voices. ``PLAIN`` text holds none of the progression keywords, not even inside
another word; the other three hold at least one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from instruct.synth import phrases
from instruct.synth import phrases_past as past
from instruct.synth.keyed import Stream
from instruct.synth.state import DEVICES, ZONES, ChestState

_SIZES = ("", "small", "moderate", "large")
_DENSITIES = ("", "faint", "patchy", "dense")
_HEARTS = ("", "mild", "moderate", "severe")
_SIDES = ("", "right", "left")
_FILLERS = (0, 1, 1, 1, 2, 2, 2, 3)
_CHRONIC = ("hyperinflation", "degenerative", "granuloma", "aorta", "fracture")
_CHRONIC_FINDINGS = {
    "hyperinflation": phrases.HYPERINFLATION,
    "degenerative": phrases.DEGENERATIVE,
    "granuloma": phrases.GRANULOMA,
    "aorta": phrases.AORTA,
    "fracture": phrases.FRACTURE,
}


class Voice(Enum):
    """How a section speaks about the past."""

    PLAIN = "plain"
    """No progression keyword."""
    CHANGE = "change"
    """Compared with an earlier study, in keywords."""
    HISTORY = "history"
    """A keyword, but about the patient and not about an earlier study."""
    DEGENERATIVE_CHANGES = "degenerative changes"
    """A keyword only inside the words "degenerative changes"; needs a state with ``degenerative``."""
    AGAINST = "against"
    """A keyword only inside the word "against"."""
    REMAINDER = "remainder"
    """A keyword only inside the word "remainder"."""


TRAP_VOICES = (Voice.DEGENERATIVE_CHANGES, Voice.AGAINST, Voice.REMAINDER)


def findings(state: ChestState, stream: Stream, voice: Voice = Voice.PLAIN, prior: ChestState | None = None) -> str:
    """Findings section.

    Args:
        state: what there is to see.
        stream: draws of this section.
        voice: how it speaks about the past.
        prior: state of the earlier study; required for, and only used by, ``Voice.CHANGE``.

    Returns:
        A few sentences, about 33 words on average over :func:`~instruct.synth.state.draw_states`.
    """
    told = _compared(state, prior, stream) if voice is Voice.CHANGE else {}
    sentences = [told.get("heart") or stream.pick(phrases.HEART[state.heart])]
    sentences.append(told.get("opacity") or _fill(stream.pick(phrases.OPACITY[state.opacity]), zone=ZONES[state.zone]))
    if "general" in told:
        sentences.append(told["general"])
    if state.effusion_right or state.effusion_left or "effusion_right" in told or "effusion_left" in told:
        for name, side in (("effusion_right", "right"), ("effusion_left", "left")):
            level = getattr(state, name)
            if name in told:
                sentences.append(told[name])
            elif level:
                sentences.append(_fill(stream.pick(phrases.EFFUSION[level]), side=side))
    elif stream.chance(0.8):
        sentences.append(stream.pick(phrases.EFFUSION[0]))
    if "pneumothorax" in told:
        sentences.append(told["pneumothorax"])
    elif state.pneumothorax:
        sentences.append(_fill(stream.pick(phrases.PNEUMOTHORAX), side=_SIDES[state.pneumothorax]))
    elif stream.chance(0.7):
        sentences.append(stream.pick(phrases.NO_PNEUMOTHORAX))
    if "device" in told:
        sentences.append(told["device"])
    elif state.device:
        sentences.append(_device(stream.pick(phrases.DEVICE), state.device))
    sentences.extend(_chronic(state, stream, voice))
    topic = stream.below(len(phrases.FILLERS))
    for step in range(stream.pick(_FILLERS)):
        sentences.append(stream.pick(phrases.FILLERS[(topic + step) % len(phrases.FILLERS)]))
    return " ".join(sentences)


def impression(state: ChestState, stream: Stream, voice: Voice = Voice.PLAIN, prior: ChestState | None = None) -> str:
    """Impression section: the main findings in short.

    Args:
        state: what there is to see.
        stream: draws of this section.
        voice: how it speaks about the past.
        prior: state of the earlier study; required for, and only used by, ``Voice.CHANGE``.

    Returns:
        One to four statements, sometimes numbered, about 11 words on average.
    """
    told = _compared(state, prior, stream) if voice is Voice.CHANGE else {}
    told = dict(list(told.items())[:2])
    points = list(told.values())
    if state.pneumothorax and "pneumothorax" not in told:
        points.append(_fill(stream.pick(phrases.PNEUMOTHORAX_IMPRESSION), side=_SIDES[state.pneumothorax]))
    if state.opacity and "opacity" not in told:
        points.append(_fill(stream.pick(phrases.OPACITY_IMPRESSION[state.opacity]), zone=ZONES[state.zone]))
    for name, side in (("effusion_right", "right"), ("effusion_left", "left")):
        level = getattr(state, name)
        if level and name not in told:
            points.append(_fill(stream.pick(phrases.EFFUSION_IMPRESSION[level]), side=side))
    if state.heart and "heart" not in told:
        points.append(stream.pick(phrases.HEART_IMPRESSION[state.heart]))
    points = points[:4]
    chronic = [name for name in _CHRONIC if getattr(state, name)]
    if voice is Voice.HISTORY:
        points.append(stream.pick(past.HISTORY))
    elif voice in TRAP_VOICES:
        points.append(stream.pick(past.TRAPS[voice.value]))
    elif chronic and len(points) < 2:
        points.append(stream.pick(phrases.CHRONIC_IMPRESSION[stream.pick(chronic)]))
    if not points:
        return stream.pick(phrases.NORMAL_IMPRESSION)
    if not state.acute and stream.chance(0.8):
        points.append(stream.pick(phrases.NO_ACUTE))
    elif state.acute and stream.chance(0.45):
        points.append(stream.pick(phrases.ADVICE))
    if len(points) > 1 and stream.chance(0.3):
        return " ".join(f"{number}. {point}" for number, point in enumerate(points, 1))
    return " ".join(points)


def indication(stream: Stream, person: str, *, keyword: bool = False) -> str:
    """Indication section.

    Args:
        stream: draws of this section.
        person: how the patient is called, such as ``"62-year-old female"``.
        keyword: whether it must contain a progression keyword; it has none otherwise.
    """
    if keyword:
        text = stream.pick(past.INDICATION_KEYWORD)
    else:
        text = stream.pick(past.INDICATION_WITH_PERSON if stream.chance(0.82) else past.INDICATION)
    text = _fill(text, symptom=stream.pick(past.SYMPTOMS), person=person, days=str(2 + stream.below(19)))
    return text[0].upper() + text[1:] + stream.pick((".", ".", ""))


def comparison(stream: Stream, date: str, *, keyword: bool = False) -> str:
    """Comparison section that names the earlier study.

    Args:
        stream: draws of this section.
        date: date of the earlier study as printed.
        keyword: whether it must contain a progression keyword; it has none otherwise.
    """
    return _fill(stream.pick(past.COMPARISON_KEYWORD if keyword else past.COMPARISON), date=date)


def clock(stream: Stream, bank: Sequence[str]) -> str:
    """A sentence of one of the clock banks of :mod:`instruct.synth.phrases` with an hour filled in."""
    return _fill(stream.pick(bank), hour=f"{1 + stream.below(12)}:{stream.below(6)}{stream.below(10)}")


def _chronic(state: ChestState, stream: Stream, voice: Voice) -> list[str]:
    sentences = []
    for name in _CHRONIC:
        if name == "degenerative" and voice is Voice.DEGENERATIVE_CHANGES:
            continue
        if getattr(state, name):
            sentences.append(stream.pick(_CHRONIC_FINDINGS[name]))
    if voice is Voice.HISTORY:
        sentences.append(stream.pick(past.HISTORY))
    elif voice in TRAP_VOICES:
        sentences.append(stream.pick(past.TRAPS[voice.value]))
    return sentences


def _compared(state: ChestState, prior: ChestState | None, stream: Stream) -> dict[str, str]:
    """Sentences about what moved and about some of what stayed, by aspect; never empty."""
    if prior is None:
        raise ValueError("Voice.CHANGE needs the state of an earlier study")
    moved: dict[str, str] = {}
    stayed: dict[str, str] = {}
    for name in ("pneumothorax", "opacity", "effusion_right", "effusion_left", "heart", "device"):
        before, now = getattr(prior, name), getattr(state, name)
        if before != now:
            moved[name] = _delta(name, before, now, state, stream)
        elif now and stream.chance(0.7):
            stayed[name] = _delta(name, before, now, state, stream)
    told = moved | stayed
    if not told:
        calm = (*past.NOTHING_NEW, *past.STILL_CLEAR) if not state.acute else past.NOTHING_NEW
        told["general"] = stream.pick(calm)
    return told


def _delta(name: str, before: int, now: int, state: ChestState, stream: Stream) -> str:
    graded = name not in ("device", "pneumothorax")
    if before == now:
        bank = past.SAME
    elif not before:
        bank = past.RECURRED if graded and stream.chance(0.06) else past.APPEARED
    elif not now:
        bank = past.TAKEN_OUT if name == "device" else past.GONE
    elif not graded:
        bank = past.APPEARED
    else:
        bank = past.ROSE if now > before else past.FELL
    level = now if bank is not past.GONE and bank is not past.TAKEN_OUT else before
    return _thing(stream.pick(bank), _name(name, level, state))


def _name(name: str, level: int, state: ChestState) -> str:
    if name == "heart":
        return f"{_HEARTS[level]} cardiomegaly"
    if name == "opacity":
        return f"{_DENSITIES[level]} {ZONES[state.zone]} opacity"
    if name == "pneumothorax":
        return f"{_SIDES[level]} pneumothorax"
    if name == "device":
        return DEVICES[level]
    return f"{_SIZES[level]} {name.removeprefix('effusion_')} pleural effusion"


def _fill(text: str, **slots: str) -> str:
    for slot, value in slots.items():
        text = text.replace(f"[{slot}]", value)
    return text


def _thing(text: str, thing: str) -> str:
    return text.replace("[Thing]", thing[0].upper() + thing[1:]).replace("[thing]", thing)


def _device(text: str, device: int) -> str:
    name = DEVICES[device]
    return text.replace("[Device]", name[0].upper() + name[1:])
