"""Annotated text of a synthetic RadGraph report: tokens with the entities and relations that are marked in them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from instruct.synth.keyed import Stream
from instruct.synth.state import ZONES, ChestState

# Words parted by blanks; "/A" anatomy, "/P", "/U" and "/N" an observation that is present, uncertain or absent; words
# joined by "_" are one entity.
_HEADS = ("FINAL REPORT EXAMINATION : CHEST ( PA AND LAT )", "FINAL REPORT HISTORY : Chest pain .", "FINAL REPORT")
_HEART = (
    ("Heart/A size/A is normal/P .", "Cardiac_silhouette/A is not enlarged/N ."),
    ("Heart/A is mildly/P enlarged/P .",),
    ("Moderate/P cardiomegaly/P .",),
    ("Heart/A is severely/P enlarged/P .",),
)
_OPACITY = (
    ("No focal/N consolidation/N .", "Lungs/A are clear/P ."),
    ("Faint/P [zone]_zone/A opacity/P , may be atelectasis/U .",),
    ("Patchy/P opacity/P in the [zone]_zone/A .",),
    ("Dense/P consolidation/P in the [zone]_zone/A , concerning for pneumonia/U .",),
)
_EFFUSION = (
    ("No pleural/A effusion/N .",),
    ("Small/P left/A pleural/A effusion/P .",),
    ("Moderate/P left/A pleural/A effusion/P .",),
    ("Large/P left/A pleural/A effusion/P .",),
)
_PNEUMOTHORAX = ("No pneumothorax/N .", "Right/A apical/A pneumothorax/P .", "Left/A apical/A pneumothorax/P .")
_LABELS = {"A": "ANAT-DP", "P": "OBS-DP", "U": "OBS-U", "N": "OBS-DA"}

Entities = dict[str, dict[str, Any]]


def annotated_text(state: ChestState, stream: Stream) -> tuple[str, Entities]:
    """Text of a report, and its entities as the release writes them; an effusion is on the left."""
    sentences = [
        stream.pick(_HEART[state.heart]),
        stream.pick(_OPACITY[state.opacity]).replace("[zone]", ZONES[state.zone].replace(" ", "_")),
        stream.pick(_EFFUSION[state.effusion_left]),
        _PNEUMOTHORAX[state.pneumothorax],
    ]
    tokens = stream.pick(_HEADS).split()
    entities: Entities = {}
    for sentence in sentences[: 2 + stream.below(3)]:
        _annotate(sentence, tokens, entities)
    return " ".join(tokens), entities


def bare_text(stream: Stream) -> str:
    """Text of a report in which nothing is marked."""
    return f"{stream.pick(_HEADS)} The image was not sent ."


def _annotate(sentence: str, tokens: list[str], entities: Entities) -> None:
    """Append a sentence's tokens and entities: an observation modifies the next one and is located at the anatomy."""
    first = len(entities) + 1
    for word in sentence.split():
        text, _, mark = word.partition("/")
        words = text.split("_")
        if mark:
            entities[str(len(entities) + 1)] = {
                "tokens": " ".join(words),
                "label": _LABELS[mark],
                "start_ix": len(tokens),
                "end_ix": len(tokens) + len(words) - 1,
                "relations": [],
            }
        tokens += words
    here = [str(key) for key in range(first, len(entities) + 1)]
    anatomy = [key for key in here if entities[key]["label"] == "ANAT-DP"]
    observed = [key for key in here if entities[key]["label"] != "ANAT-DP"]
    for key, following in pairwise(observed):
        kind = "suggestive_of" if entities[following]["label"] == "OBS-U" else "modify"
        entities[key]["relations"].append([kind, following])
    if observed and anatomy:
        entities[observed[-1]]["relations"].append(["located_at", anatomy[-1]])
