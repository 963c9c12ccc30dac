"""Phrase banks of the report grammar: what is there to see now.

A pattern such as ``"{Heart|The heart} is normal."`` stands for every combination of its alternatives;
``[slot]`` marks are filled in later. No phrase of this module contains any of :data:`KEYWORDS`; the tests hold it.
"""

from __future__ import annotations

import re
from itertools import product

KEYWORDS = (
    "new", "change", "unchanged", "prior", "stable", "interval", "previous", "again", "increased", "improve",
    "remain", "worse", "persistent", "remov", "decrease", "similar", "earlier", "recurrence", "redemonstrate",
)  # fmt: skip
"""Substrings of a lower-cased section that make it a progression report, as published for this benchmark."""

UNWANTED = ("___", "a.m.", "p.m.")
"""Substrings that keep an impression from being a summarization target, as published for this benchmark."""


def expand(*patterns: str) -> tuple[str, ...]:
    """Every phrase that the patterns stand for, in order, each once."""
    phrases: dict[str, None] = {}
    for pattern in patterns:
        parts = [part.split("|") for part in re.split(r"[{}]", pattern)]
        phrases.update(dict.fromkeys("".join(choice) for choice in product(*parts)))
    return tuple(phrases)


# ---- findings; a bank per level where there are levels -------------------------------------------------------

_HEART = "{The heart|Heart size|The cardiac silhouette|The cardiomediastinal silhouette}"
_GROWTH = "{cardiomegaly|cardiac enlargement}"
HEART = (
    expand(
        f"{_HEART} is {{normal|within normal limits|not enlarged|of normal size}}.",
        "Heart size {and mediastinal contours are|and pulmonary vascularity are} {normal|unremarkable}.",
        "{Normal|Unremarkable} {heart size|cardiac silhouette|cardiomediastinal silhouette}.",
    ),
    expand(f"{_HEART} is {{mildly|slightly|borderline}} enlarged.", f"{{Mild|Borderline}} {_GROWTH}."),
    expand(f"{_HEART} is moderately enlarged.", f"Moderate {_GROWTH} is {{present|seen}}."),
    expand(f"{_HEART} is {{markedly|severely}} enlarged.", f"{{Marked|Severe}} {_GROWTH} is {{present|seen}}."),
)
_LUNG_DISEASE = "{focal consolidation|focal airspace opacity|airspace disease|lung consolidation}"
OPACITY = (
    expand(
        "The lungs are {clear|well expanded and clear|free of focal consolidation|normally aerated}.",
        f"No {_LUNG_DISEASE} {{is seen|is identified}}.",
        f"There is no {_LUNG_DISEASE}{{| on either side}}.",
        "{Both lungs|The lungs} {show no|are without} {focal opacity|consolidation or mass|suspicious nodule}.",
    ),
    expand(
        "{Faint|Subtle|Hazy} [zone] {opacity|airspace opacity|density} is {seen|noted|present}.",
        "There is a {faint|subtle|hazy} opacity in the [zone] zone.",
        "{Mild|Minimal} [zone] {atelectasis|subsegmental atelectasis|airspace opacity}.",
    ),
    expand(
        "{Patchy|Moderate|Ill-defined} [zone] {opacity|airspace opacity|consolidation} is {seen|noted|present}.",
        "There is {patchy|moderate} airspace opacity {in|projecting over} the [zone] zone.",
    ),
    expand(
        "{Dense|Extensive|Confluent} [zone] {consolidation|airspace opacity} is {seen|present}.",
        "There is {dense|confluent} consolidation {in|occupying} the [zone] zone{| with air bronchograms}.",
    ),
)
EFFUSION = (
    expand(
        "No {pleural effusion|pleural fluid|effusion} {is seen|is identified}.",
        "There is no {pleural effusion|pleural fluid|effusion}{| on either side}.",
        "The {costophrenic angles|costophrenic sulci|pleural spaces} are {clear|sharp|preserved}.",
    ),
    expand(
        "{Small|Trace|Minimal} [side] pleural effusion {is seen|is present|is noted}.",
        "There is {a small|a trace|a minimal} [side] pleural effusion{| with blunting of the costophrenic angle}.",
    ),
    expand(
        "Moderate [side] pleural effusion {is seen|is present}.",
        "There is a {moderate|moderately sized} [side] pleural effusion.",
    ),
    expand(
        "{Large|Sizeable} [side] pleural effusion {is seen|is present}.",
        "There is a large [side] pleural effusion{| with adjacent atelectasis}.",
    ),
)
NO_PNEUMOTHORAX = expand(
    "{No|There is no} {pneumothorax|evidence of pneumothorax|visible pneumothorax}.",
    "Pneumothorax is not {seen|identified}.",
)
PNEUMOTHORAX = expand(
    "{Small|Tiny|Apical} [side] pneumothorax{ is seen| is present|}.",
    "There is a {small|small apical} [side] pneumothorax.",
)
DEVICE = expand("[Device] {is in place|is in expected position|is in standard position|is noted|is present}.")
HYPERINFLATION = expand(
    "The lungs are {hyperinflated|hyperexpanded}{| with flattened diaphragms}.",
    "{Hyperinflation|Flattening of the diaphragms} {is noted|suggests obstructive disease}.",
)
DEGENERATIVE = expand(
    "{Mild|Moderate|Multilevel} {spondylosis|degenerative disc disease} of the thoracic spine.",
    "{Osteophytes|Endplate spurring} {along|of} the thoracic spine.",
)
GRANULOMA = expand("{Calcified granuloma|Small calcified nodule} in the {right|left} {upper lobe|hilum|mid lung}.")
AORTA = expand(
    "The {thoracic aorta|aorta|aortic arch} is {tortuous|calcified|mildly ectatic}.",
    "{Atherosclerotic|Vascular} calcification of the aortic arch.",
)
_BONE = "{rib fracture|posterior rib fracture|clavicle fracture}"
FRACTURE = expand(f"{{Old|Healed|Remote}} {{left|right}} {_BONE}{{| is noted}}.")
_CONTOURS = "{The mediastinal contours|The hilar contours|Mediastinal and hilar contours}"
_BONES = "{osseous structures|visualized bones|bony structures}"
FILLERS = (
    expand(f"{_CONTOURS} are {{normal|unremarkable|within normal limits}}."),
    expand(
        f"The {_BONES} are {{intact|unremarkable|without acute abnormality}}.",
        "No acute {osseous abnormality|bony abnormality|displaced fracture} {is seen|is identified}.",
        "There is no acute {osseous abnormality|bony abnormality|fracture}{| of the visualized skeleton}.",
    ),
    expand("The {trachea is midline|central airways are patent|diaphragm is smooth}."),
    expand("Pulmonary vascularity is {normal|within normal limits|not congested}."),
    expand(
        "No {free air|free air under the diaphragm|subdiaphragmatic gas} {is seen|is identified}.",
        "The upper abdomen is unremarkable.",
    ),
    expand("{The soft tissues are|Visualized soft tissues are} {unremarkable|normal}."),
)
"""Sentences that are true of any state, by topic."""

# ---- impression; an empty bank for level 0 -------------------------------------------------------------------

_ACUTE = "{acute cardiopulmonary|acute intrathoracic|active cardiopulmonary|acute cardiothoracic}"
NORMAL_IMPRESSION = expand(
    f"{{No|No evidence of}} {_ACUTE} {{abnormality|disease|process|findings}}.",
    "{Normal chest|Normal chest radiograph|Unremarkable chest|Negative chest|Normal examination of the chest}.",
    "{Clear lungs|No acute disease|No radiographic evidence of acute disease|No acute finding in the chest}.",
    "No acute cardiopulmonary abnormality {is identified on this examination|to account for the symptoms}.",
)
HEART_IMPRESSION: tuple[tuple[str, ...], ...] = (
    (),
    expand(f"{{Mild|Borderline}} {_GROWTH}{{| without overt edema| without pulmonary edema}}."),
    expand(f"Moderate {_GROWTH}{{| without overt edema| without pulmonary edema}}."),
    expand(f"{{Marked|Severe}} {_GROWTH}{{| without overt edema| without pulmonary edema}}."),
)
_CAUSE = "{likely atelectasis|which may represent atelectasis|possibly infectious|atelectasis or early infiltrate}"
OPACITY_IMPRESSION: tuple[tuple[str, ...], ...] = (
    (),
    expand(f"{{Faint|Subtle}} [zone] {{opacity|airspace opacity}}, {_CAUSE}.", "{Faint|Subtle} [zone] opacity."),
    expand(f"{{Patchy|Moderate}} [zone] {{opacity|airspace opacity}}, {_CAUSE}.", "Patchy [zone] airspace disease."),
    expand(f"{{Dense|Extensive}} [zone] {{opacity|airspace opacity}}, {_CAUSE}.", "Dense [zone] airspace disease."),
)
EFFUSION_IMPRESSION: tuple[tuple[str, ...], ...] = (
    (),
    expand("{Small|Trace} [side] pleural effusion{| with associated atelectasis}."),
    expand("Moderate [side] pleural effusion{| with associated atelectasis}."),
    expand("{Large|Sizeable} [side] pleural effusion{| with associated atelectasis}."),
)
PNEUMOTHORAX_IMPRESSION = expand("{Small|Tiny} [side] pneumothorax{|, clinical correlation advised}.")
CHRONIC_IMPRESSION = {
    "hyperinflation": expand("{Hyperinflated lungs|Hyperinflation}{| compatible with obstructive lung disease}."),
    "degenerative": expand("{Spondylosis|Degenerative disease} of the thoracic spine."),
    "granuloma": expand("{Calcified granuloma|Sequela of healed granulomatous disease}."),
    "aorta": expand("{Tortuous|Atherosclerotic} {aorta|thoracic aorta}."),
    "fracture": expand("{Old|Healed} rib fracture."),
}
_TEST = "{a lateral view|computed tomography|a repeat radiograph}"
ADVICE = expand(
    "{Clinical correlation|Correlation with symptoms} is {advised|suggested|recommended}.",
    f"{{Consider|Suggest}} {_TEST} {{if clinically indicated|for further evaluation if symptoms continue}}.",
    "{Follow-up|Repeat} radiograph {in six weeks|after treatment} is {advised|recommended} to confirm resolution.",
)
NO_ACUTE = expand("{No acute|No other acute|Otherwise no acute} {cardiopulmonary abnormality|findings|disease}.")

# ---- times of day ----------------------------------------------------------------------------------------------

CLOCK = expand(
    "Findings were {called to|discussed with} the {emergency department|referring team} at [hour] {a.m.|p.m.}",
    "{Discussed with|Reported to} Dr. ___ {by telephone|in person}.",
)
"""Sentences with one of :data:`UNWANTED`."""
CLOCK_WITHOUT_DOTS = expand(
    "Findings were {called|relayed} to the {ward|emergency department} at [hour] {AM|PM}.",
)
CLOCK_IN_FINDINGS = expand("{Radiograph|Image} obtained at [hour] {a.m.|p.m.}")
