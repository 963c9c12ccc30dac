"""The records of a synthetic REX-Gradient split: ids, sections, missing values and image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instruct.synth import grammar, phrases, phrases_past
from instruct.synth.draw import View, draw_chest
from instruct.synth.files import write_png
from instruct.synth.grammar import Voice
from instruct.synth.ids import code, uid
from instruct.synth.keyed import Draws, Stream
from instruct.synth.rexgradient_plan import SEXES, VOICES, Plan, Tie
from instruct.synth.rexgradient_views import LATERALS, PATTERNS
from instruct.synth.state import ChestState

IMAGES = "deid_png"
SECTIONS = ("Indication", "Comparison", "Findings", "Impression")

_NAN = float("nan")
_MISSING = (None, _NAN, "")
_SHAPES = ((320, 264), (288, 288), (256, 312), (264, 320))
_MAKERS = ("Examplar Imaging", "Fictiva", "Ficta Medical", "Placebo X-ray Works")
_SITES = 79
_SPLIT_OFFSET = {"train": 0, "val": 10**8, "test": 2 * 10**8}
_UNKNOWN_SEX = ("O", "", None, _NAN, "UNKNOWN")


class Records:
    """Makes the records of one split.

    Args:
        seed: corpus seed.
        split: ``train``, ``val`` or ``test``.
        plan: what the split holds.
    """

    def __init__(self, seed: int, split: str, plan: Plan) -> None:
        self._plan = plan
        self._draws = Draws(seed, "rexgradient", split, "records")
        self._pictures = self._draws.child("pictures")
        self._codes = Draws(seed, "rexgradient", "codes")  # one sequence for all splits: no id occurs in two
        self._offset = _SPLIT_OFFSET[split]
        self._dates = plan.dates()

    def file_order(self) -> list[int]:
        """The studies in the order of the file, which is not the order of time."""
        return [int(k) for k in self._draws.permutation("file order", len(self._plan))]

    def record(self, k: int) -> tuple[str, dict[str, Any]]:
        """Key and record of a study."""
        plan = self._plan
        patient_number = int(plan.chains.patient[k])
        patient = "GRDN" + code(self._codes, "patient", self._offset + patient_number)
        accession, study = self._accession(k), uid(self._draws, "study", k)
        of_patient = self._draws.stream("patient", patient_number)
        stream = self._draws.stream("record", k)
        sex = SEXES[plan.sex[k]]
        pattern = PATTERNS[plan.pattern[k]]
        folder = f"../{IMAGES}/{patient}/{accession}/studies/{study}/series/"
        shapes = [list(_SHAPES[stream.below(len(_SHAPES))]) for _ in pattern.labels]
        paths = [
            f"{folder}{uid(self._draws, 'series', 8 * k + j)}/instances/{uid(self._draws, 'instance', 8 * k + j)}.png"
            for j in range(len(pattern.labels))
        ]
        date = self._dates[k]
        return f"p{patient}_a{accession}_s{study}", {
            "PatientID": patient,
            "AccessionNumber": accession,
            "StudyInstanceUid": study,
            "PatientSex": sex if sex in ("M", "F") else of_patient.pick(_UNKNOWN_SEX),
            "PatientAge": self._age(k, stream),
            "EthnicGroup": of_patient.pick((_NAN, _NAN, None, "", "GROUP A", "GROUP B")),
            "PatientWeight": stream.pick((_NAN, _NAN, None, str(50 + stream.below(50)), 45.5 + stream.below(60))),
            "StudyDate": date if plan.text_date[k] else int(date),
            "InstitutionName": stream.pick(_MISSING) if stream.chance(0.05) else f"SITE {self._site(of_patient):02d}",
            "Manufacturer": stream.pick(_MISSING) if stream.chance(0.1) else stream.pick(_MAKERS),
            "Indication": self._indication(k, sex),
            "Comparison": self._comparison(k),
            "Findings": self._findings(k),
            "Impression": self._impression(k),
            "ImagePath": paths,
            "ImageViewPosition": list(pattern.labels),
            "ImageShape": shapes,
            "ImageModality": [stream.pick(("DX", "DX", "CR"))] * len(paths),
            "ImageBodyPart": [stream.pick(("CHEST", "CHEST", "CHEST", "PORT CHEST", "", None)) for _ in paths],
        }

    def draw(self, root: Path, k: int, record: dict[str, Any]) -> None:
        """Write the images of a study's record under the corpus folder."""
        state = self._plan.states.at(k)
        several = len(record["ImagePath"]) > 1
        listed = zip(record["ImagePath"], record["ImageViewPosition"], record["ImageShape"], strict=True)
        for j, (path, label, (height, width)) in enumerate(listed):
            view: View = "lateral" if label in LATERALS else "frontal"
            unlabelled = label in (None, "UNKNOWN", "N/A")
            if unlabelled and several and j and self._draws.stream("unlabelled", 8 * k + j).chance(0.3):
                view = "lateral"
            file = root / path.removeprefix("../")
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = draw_chest(state, view, self._pictures, 8 * k + j, height=height, width=width)
            write_png(file, picture.pixels16())

    def _accession(self, k: int) -> str:
        """Accession number; on a day with two studies it decides their order, or opposes it."""
        tie = self._plan.tie
        own = code(self._codes, "accession", self._offset + k)
        later = k if tie[k] else k + 1
        if later == len(tie) or not tie[later]:
            return "GRDN" + own
        other = code(self._codes, "accession", self._offset + (k - 1 if later == k else k + 1))
        earlier_gets_lower = tie[later] == Tie.BY_KEY
        return "GRDN" + (min if (k != later) == earlier_gets_lower else max)(own, other)

    def _age(self, k: int, stream: Stream) -> str | float | None:
        days = int(self._plan.age_days[k])
        if days < 0:
            return stream.pick(_MISSING)
        if days < 28:
            return f"{days:03d}D"
        if days < 91:
            return f"{days // 7:03d}W"
        if days < 730:
            return f"{days * 12 // 365:03d}M"
        return f"{int(days / 365.25):03d}Y"

    @staticmethod
    def _site(stream: Stream) -> int:
        return 1 + stream.below(_SITES)

    def _indication(self, k: int, sex: str) -> str:
        plan = self._plan
        stream = self._draws.stream("indication", k)
        days = int(plan.age_days[k])
        noun = {"M": "male", "F": "female"}.get(sex, "patient")
        person = f"{int(days / 365.25)}-year-old {noun}" if days >= 730 else f"{noun} infant" if days >= 0 else noun
        return grammar.indication(
            stream, person, keyword=plan.elsewhere[k] == 2 or (bool(plan.free[k]) and stream.chance(0.08))
        )

    def _comparison(self, k: int) -> str | float | None:
        plan = self._plan
        stream = self._draws.stream("comparison", k)
        tie_next = int(plan.tie[k + 1]) if k + 1 < len(plan) else Tie.NONE
        if tie_next or plan.tie[k] == Tie.BY_KEY:
            return stream.pick(_MISSING)
        if not plan.chains.position[k]:
            return stream.pick(_MISSING) if stream.chance(0.06) else stream.pick(phrases_past.NO_COMPARISON)
        keyword = plan.elsewhere[k] == 1
        if not keyword and not plan.tie[k] and stream.chance(0.08):
            return stream.pick((*_MISSING, *phrases_past.NO_COMPARISON))
        date = self._dates[k - 1]
        keyword = keyword or (bool(plan.free[k]) and stream.chance(0.4))
        return grammar.comparison(stream, f"{date[4:6]}/{date[6:]}/{date[:4]}", keyword=keyword)

    def _findings(self, k: int) -> str:
        stream = self._draws.stream("findings", k)
        voice = VOICES[self._plan.findings_voice[k]]
        text = grammar.findings(self._plan.states.at(k), stream, voice, self._prior(k, voice))
        if k in self._plan.clock_findings:
            text += " " + grammar.clock(stream, phrases.CLOCK_IN_FINDINGS)
        return text

    def _impression(self, k: int) -> str:
        plan = self._plan
        stream = self._draws.stream("impression", k)
        voice = VOICES[plan.impression_voice[k]]
        text = grammar.impression(plan.states.at(k), stream, voice, self._prior(k, voice))
        if k in plan.unwanted:
            text += " " + grammar.clock(stream, phrases.CLOCK)
        if k in plan.clock_plain:
            text += " " + grammar.clock(stream, phrases.CLOCK_WITHOUT_DOTS)
        return text

    def _prior(self, k: int, voice: Voice) -> ChestState | None:
        return self._plan.states.at(k - 1) if voice is Voice.CHANGE else None
