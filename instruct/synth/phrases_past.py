"""Phrase banks of the report grammar: what was there before, and the two sections that lead a report in.

Every phrase of the banks for change, history and traps contains one of :data:`instruct.synth.phrases.KEYWORDS`,
and so does every ``*_KEYWORD`` bank; the other banks are free of them. The tests hold it.
"""

from __future__ import annotations

from instruct.synth.phrases import expand

_STUDY = "{prior study|previous study|earlier study|prior examination|previous examination}"

# ---- change against an earlier study ---------------------------------------------------------------------------

SAME = expand(
    "[Thing] {is unchanged|remains|is stable|is again seen|is unaltered, similar to the earlier study}.",
    "{Stable|Unchanged|Persistent|Redemonstrated|Similar} [thing].",
    f"[Thing] is {{similar to|unchanged from|stable since}} the {_STUDY}.",
    "No {significant|relevant|interval} change in [thing].",
    "[Thing] {is redemonstrated|is again noted|remains without significant change}.",
)
APPEARED = expand(
    "New [thing]{| is seen| is present}.",
    f"[Thing], new {{since|compared with}} the {_STUDY}.",
    "Interval {development|appearance} of [thing].",
    f"[Thing], not present on the {_STUDY}.",
)
RECURRED = expand("{Recurrence of|Interval recurrence of} [thing].")
ROSE = expand(
    f"[Thing] {{has increased|has worsened|is worse}} since the {_STUDY}.",
    "{Increased|Interval increase in|Interval worsening of|Interval progression of} [thing].",
)
FELL = expand(
    f"[Thing] {{has decreased|has improved|is decreased|is improved}} since the {_STUDY}.",
    "{Decreased|Improved|Interval decrease in|Interval improvement in} [thing].",
)
GONE = expand(
    f"[Thing] has resolved since the {_STUDY}.",
    "Interval resolution of [thing].",
    "[Thing] seen {previously|earlier|on the prior study} {is no longer present|has cleared}.",
)
TAKEN_OUT = expand(
    "{Interval removal of|Removed} [thing].",
    "[Thing] has been removed{| since the prior study}.",
)
NOTHING_NEW = expand(
    "No {new|interval} {abnormality|finding|process}.",
    "{Heart size is unchanged|The chest is stable|Stable appearance of the chest}.",
    f"No {{significant|relevant|interval}} change {{since|compared with}} the {_STUDY}.",
    f"{{Appearance|Examination}} is unchanged {{since|compared with}} the {_STUDY}.",
)
STILL_CLEAR = expand(
    "No {new|interval} {focal opacity|consolidation|airspace disease}.",
    "{The lungs|Both lungs} remain {clear|free of consolidation}.",
)

# ---- history: a keyword although no earlier study is spoken of -------------------------------------------------

HISTORY = expand(
    "{Stable|Stable appearing} calcified {hilar lymph node|nodule}.",
    "{Surgical clips from|Sternotomy wires from|Sequela of} {previous|prior|earlier} {surgery|intervention}.",
    "Rib deformity {likely from prior trauma|from previous injury}.",
    "{Increased|Mildly increased} {interstitial|bronchovascular} markings.",
    "{Decreased|Mildly decreased} lung volumes.",
)

# ---- substring traps: a keyword only inside a longer word ------------------------------------------------------

_SPINE = "{thoracic spine|spine|thoracolumbar spine}"
_PRESERVED = "{Sharp costophrenic angles argue|The clear retrosternal space argues|Preserved lung volume argues}"
TRAPS = {
    "degenerative changes": expand(
        f"{{Degenerative changes|Mild degenerative changes|Multilevel degenerative changes}} {{of|in}} the {_SPINE}."
    ),
    "against": expand(f"{_PRESERVED} against {{a mass|collapse}}."),
    "remainder": expand("The remainder of the {examination|study|chest|bones} is {unremarkable|normal}."),
}

# ---- indication ------------------------------------------------------------------------------------------------

SYMPTOMS = expand(
    "{cough|fever|chest pain|shortness of breath|dyspnea|wheezing|weakness|syncope|hemoptysis|chest tightness|trauma}",
    "{cough and fever|chest pain and dyspnea|fever of unknown source|productive cough|pain after a fall}",
)
INDICATION = expand(
    "[symptom]",
    "{history of|evaluate for|patient with} [symptom]",
    "[symptom] for [days] days",
    "{rule out|evaluate for|concern for} {pneumonia|acute cardiopulmonary disease|pulmonary edema}",
)
INDICATION_WITH_PERSON = expand(
    "[person] with [symptom]",
    "[person], [symptom]",
    "[person] with [symptom] for [days] days",
    "[person] for {preoperative evaluation|line placement|employment examination}",
)
INDICATION_KEYWORD = expand(
    "{new|worsening|persistent|recurrent and worse} [symptom]",
    "{follow up of prior|interval follow up of|previous episode of} [symptom]",
)

# ---- comparison ------------------------------------------------------------------------------------------------

NO_COMPARISON = (
    "None.", "None", "None.", "None", "None available.", "No comparison.", "No comparison studies available.",
    "No studies are available for comparison.",
)  # fmt: skip
"""What a report says when there is nothing to compare with; repeated as often as it is likely."""
COMPARISON = expand(
    "[date]",
    "{Chest radiograph|Radiograph|Chest X-ray|Study} {dated|from|of} [date].",
    "{Chest radiographs|Chest} [date]",
    "{Two-view chest radiograph|Portable chest radiograph} {dated|performed on} [date].",
)
COMPARISON_KEYWORD = expand(
    "{Prior|Previous|Earlier} {study|radiograph|chest radiograph|examination} {of|dated} [date].",
    "Prior [date]",
)
