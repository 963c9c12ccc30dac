"""Synthetic BRAX: the master spreadsheet and 8-bit PNGs.

Each patient has one study that becomes an example, and some have others that do not: so the numbers of training and
test examples do not depend on which patients are drawn for test.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instruct.synth.draw import View, draw_chest
from instruct.synth.files import start, write_png
from instruct.synth.ids import uid
from instruct.synth.keyed import Draws
from instruct.synth.mimic_cxr_labels import is_positive, label_values
from instruct.synth.mimic_cxr_plan import Labels
from instruct.synth.planted import Counts, Planted
from instruct.synth.quota import apportion, scatter
from instruct.synth.state import ChestState, draw_states

SPREADSHEET = "master_spreadsheet_update.csv"
IMAGES = "images"

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
COLUMNS = (
    "", "DicomPath", "PngPath", "PatientID", "PatientSex", "PatientAge", "AccessionNumber", "StudyDate", *LABELS,
    "ViewPosition", "Rows", "Columns", "Manufacturer",
)  # fmt: skip
# Views of a study's images in file order, with the share of such studies: of pairs, and of others.
_PAIRS = {
    ("PA", "L"): 50, ("L", "PA"): 30, ("AP", "RL"): 6, ("AP LLD", "L"): 2, ("L", "AP", "PA"): 4, ("", "PA", "L"): 4,
    ("LT-DECUB", "L", "PA"): 2, ("PA", "L", "L"): 2,
}  # fmt: skip
_NO_PAIRS = {("PA",): 40, ("AP",): 20, ("L", "RL"): 10, ("PA", "AP"): 10, ("PA", "RLO"): 10, ("", "L"): 10}
_LATERALS = ("L", "RL")
_UNSETTLED = ("studies_without_a_pair", "pairs_uncertain_only", "pairs_without_label")
_SIDE = 144


@dataclass(frozen=True)
class Study:
    """One study: ids, views in file order, state, label values, and whether it becomes an example."""

    accession: str
    patient: str
    person: int
    views: tuple[str, ...]
    state: ChestState
    values: dict[str, float | None]
    why_not: str


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic BRAX.

    Args:
        root: folder to write into.
        studies: number of studies, 20 or more; three in five become examples.
        seed: any integer.
        images: also write ``images/**.png``.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a BRAX corpus is there already.
    """
    start(root, studies, (SPREADSHEET, IMAGES))
    draws = Draws(seed, "brax")
    corpus = _plan(draws, studies)
    number = 0
    with (root / SPREADSHEET).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for k, study in enumerate(corpus):
            of_person = draws.stream("person", study.person)
            age = of_person.pick(("85 or more", *(str(age) for age in range(20, 85, 5))))
            cells = {
                "PatientID": study.patient,
                "PatientSex": of_person.pick(("M", "F")),
                "PatientAge": age,
                "AccessionNumber": study.accession,
                "StudyDate": 20100101 + 10000 * draws.stream("date", k).below(9),
                "Rows": _SIDE,
                "Columns": _SIDE,
                "Manufacturer": "Fictiva",
                **{label: "" if value is None else value for label, value in study.values.items()},
            }
            for j, view in enumerate(study.views):
                path = _path(draws, study, k, j)
                own = {"": number, "DicomPath": _dicom(path), "PngPath": path, "ViewPosition": view}
                writer.writerow([(cells | own)[column] for column in COLUMNS])
                number += 1
                if images:
                    _draw(root / path, draws, study, view, 8 * k + j)
    return Planted("brax", _counts(corpus), _traps(corpus), {})


def _plan(draws: Draws, studies: int) -> list[Study]:
    patients = -(-3 * studies // 5)
    others = studies - patients
    person = np.concatenate([np.arange(patients), draws.integers("others", np.arange(others), patients)])
    pairs = scatter(draws, "pairs", apportion(patients, list(_PAIRS.values()), range(len(_PAIRS))))
    kinds = scatter(draws, "labels", apportion(patients, (92, 8), (0, 1)))
    why = scatter(draws, "others", apportion(others, (60, 20, 20), range(3)))
    no_pairs = scatter(draws, "no pairs", apportion(others, list(_NO_PAIRS.values())))
    states = draw_states(draws.child("states"), np.zeros(studies, dtype=np.int64))
    corpus = []
    for k in range(studies):
        reason, kind, views = "", (Labels.OF_STATE, Labels.SETTLES)[kinds[k]] if k < patients else Labels.OF_STATE, ()
        if k < patients:
            views = tuple(_PAIRS)[pairs[k]]
        else:
            reason = _UNSETTLED[why[k - patients]]
            views = tuple(_NO_PAIRS)[no_pairs[k - patients]] if reason == _UNSETTLED[0] else ("PA", "L")
            kind = (Labels.OF_STATE, Labels.UNSETTLED, Labels.NOTHING)[why[k - patients]]
        corpus.append(
            Study(
                # More than a float can hold.
                accession=str(90_000_000_000_000_001 + 1_000_003 * k + 10**15 * (k % 7)),
                patient=f"id_{draws.number('patient', int(person[k])):032x}",
                person=int(person[k]),
                views=views,
                state=states.at(k),
                values=label_values(states.at(k), kind, draws.stream("values", k)) or {},
                why_not=reason,
            )
        )
    return [corpus[k] for k in draws.permutation("order", studies)]


def _path(draws: Draws, study: Study, k: int, j: int) -> str:
    names = ("Study_" + uid(draws, "study", k), "Series_" + uid(draws, "series", 8 * k + j))
    return "/".join((IMAGES, study.patient, *names, f"image-{uid(draws, 'image', 8 * k + j)}.png"))


def _dicom(path: str) -> str:
    return path.replace(IMAGES, "Anonymized_DICOMs", 1).removesuffix(".png") + ".dcm"


def _draw(path: Path, draws: Draws, study: Study, view: str, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    side: View = "lateral" if view in _LATERALS else "frontal"
    drawing = draw_chest(study.state, side, draws.child("pictures"), index, height=_SIDE, width=_SIDE)
    write_png(path, drawing.pixels8())


def _counts(corpus: Sequence[Study]) -> dict[str, dict[str, Counts]]:
    examples = sum(not study.why_not for study in corpus)
    assert all(is_positive(study.values) for study in corpus if not study.why_not)
    tested = -(-examples // 5)
    row = {
        split: Counts(number, 2 * number, number)
        for split, number in (("train", examples - tested), ("val", 0), ("test", tested))
    }
    return {"[Image Classification] [Brax]": row}


def _traps(corpus: Sequence[Study]) -> dict[str, int]:
    kept = [study for study in corpus if not study.why_not]
    return {
        **{name: sum(study.why_not == name for study in corpus) for name in _UNSETTLED},
        "examples_listing_lateral_first": sum(study.views[0] in _LATERALS for study in kept),
        "examples_with_more_than_two_images": sum(len(study.views) > 2 for study in kept),
        "examples_with_uncertain_label_only": sum(1.0 not in study.values.values() for study in kept),
    }
