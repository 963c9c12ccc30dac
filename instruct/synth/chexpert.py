"""Synthetic CheXpert and CheXpert Plus: ``CheXpert-v1.0-small/`` (labels, JPEGs), ``chexpertplus/`` (reports)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from instruct.synth.chexpert_plan import EMPTIED, LABELS, NONE, Picture, Study, plan_corpus
from instruct.synth.draw import draw_chest
from instruct.synth.files import start
from instruct.synth.grammar import Voice
from instruct.synth.keyed import Draws
from instruct.synth.mimic_cxr_labels import is_positive
from instruct.synth.planted import Counts, Planted, SplitFacts

EDITION = "CheXpert-v1.0-small"
PLUS = "chexpertplus"
PLUS_TABLE = "df_chexpert_plus_240401.csv"
FOLDERS = {"train": "train", "val": "valid", "test": "test"}

_ABOUT = ("Sex", "Age", "Frontal/Lateral", "AP/PA")
_PLUS_COLUMNS = (
    "path_to_image", "path_to_dcm", "frontal_lateral", "ap_pa", "deid_patient_id", "patient_report_date_order",
    "report", "section_narrative", "section_clinical_history", "section_history", "section_comparison",
    "section_technique", "section_procedure_comments", "section_findings", "section_impression",
    "section_end_of_impression", "section_summary", "section_accession_number", "age", "sex", "race", "ethnicity",
    "interpreter_needed", "insurance_type", "recent_bmi", "deceased", "split",
)  # fmt: skip
_HEIGHT, _WIDTH = 128, 160


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True, groundtruth: bool = False) -> Planted:
    """Write a synthetic CheXpert with CheXpert Plus.

    Args:
        root: folder to write into.
        studies: studies over all splits, 20 or more.
        seed: any integer.
        images: also write the JPEGs.
        groundtruth: label the test set by study, in ``groundtruth.csv``, instead of by image in ``test.csv``.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a CheXpert corpus is there already.
    """
    start(root, studies, (EDITION, PLUS))
    corpus = plan_corpus(seed, studies)
    (root / EDITION).mkdir()
    (root / PLUS).mkdir()
    # As text, study10 comes before study2.
    listed = sorted(corpus, key=lambda study: (study.index if study.split == "test" else 0, study.name))
    for split, name in (("train", "train.csv"), ("val", "valid.csv")):
        rows = (
            [
                f"{EDITION}/{_path(study, picture)}",
                study.sex,
                study.age,
                picture.projection,
                picture.view,
                *_values(study),
            ]
            for study in listed
            if study.split == split
            for picture in study.pictures
        )
        _write(root / EDITION / name, ("Path", *_ABOUT, *LABELS), rows)
    tested = [study for study in listed if study.split == "test"]
    if groundtruth:
        by_study = ([f"CheXpert-v1.0/test/{study.name}", *_whole(study)] for study in tested)
        _write(root / EDITION / "groundtruth.csv", ("Study", *LABELS), by_study)
    else:
        by_image = ([_path(study, picture), *_whole(study)] for study in tested for picture in study.pictures)
        _write(root / EDITION / "test.csv", ("Path", *LABELS), by_image)
    _write(root / PLUS / PLUS_TABLE, _PLUS_COLUMNS, _plus_rows(listed, Draws(seed, "chexpert", "plus")))
    if images:
        pictures = Draws(seed, "chexpert", "pictures")
        for study in corpus:
            for place, picture in enumerate(study.pictures):
                _draw(root / EDITION / _path(study, picture), study, picture, pictures, 8 * study.index + place)
    return Planted("chexpert", _counts(corpus), _traps(corpus), _facts(corpus))


def _path(study: Study, picture: Picture) -> str:
    return f"{FOLDERS[study.split]}/{study.name}/{picture.name}"


def _values(study: Study) -> list[str]:
    return ["" if study.values[label] is None else str(study.values[label]) for label in LABELS]


def _whole(study: Study) -> list[int]:
    return [int(study.values[label] or 0) for label in LABELS]


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _plus_rows(corpus: list[Study], draws: Draws) -> Iterable[list[object]]:
    for study in corpus:
        if not study.reported:
            continue
        stream = draws.stream("layout", study.index)
        findings, impression, history = (
            text and (text.replace(". ", ".\n", 1) if stream.chance(0.3) else text)
            for text in (study.findings, study.impression, study.history)
        )
        cells: dict[str, object] = {
            "deid_patient_id": study.patient,
            # No order of time.
            "patient_report_date_order": 100 - study.number,
            "report": f'NARRATIVE:\n"CHEST"\nFINDINGS: {findings or ""}\nIMPRESSION:\n{impression or ""}',
            "section_clinical_history": history or "",
            "section_comparison": "None." if study.number == 1 else "Study of an earlier day.",
            "section_findings": findings or "",
            "section_impression": impression or "",
            "section_accession_number": str(10**6 + study.index),
            "age": float(study.age),
            "sex": study.sex,
            "recent_bmi": 20.5,
            "deceased": "No",
            "split": FOLDERS[study.split],
        }
        # Some images of reported studies are not listed.
        shown = study.pictures[:-1] if len(study.pictures) > 2 else study.pictures
        for picture in shown:
            path = _path(study, picture)
            own = {
                "path_to_image": path,
                "path_to_dcm": path.replace(".jpg", ".dcm"),
                "frontal_lateral": picture.projection,
                "ap_pa": picture.view,
            }
            yield [(own | cells).get(column, "") for column in _PLUS_COLUMNS]


def _draw(path: Path, study: Study, picture: Picture, draws: Draws, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    view = "lateral" if picture.projection == "Lateral" else "frontal"
    drawing = draw_chest(study.state, view, draws, index, height=_HEIGHT, width=_WIDTH)  # type: ignore[arg-type]
    Image.fromarray(drawing.pixels8()).save(path, format="JPEG", quality=80)


def _counts(corpus: list[Study]) -> dict[str, dict[str, Counts]]:
    by_name = {study.name: study for study in corpus}
    rows: dict[str, dict[str, Counts]] = {}

    def row(task: str, shown: list[tuple[Study, list[str]]]) -> None:
        for split in FOLDERS:
            own = [(study.name, images) for study, images in shown if study.split == split]
            rows.setdefault(f"[{task}] [CheXpert-Public]", {})[split] = Counts(
                len(own), len({image for _, images in own for image in images}), len({name for name, _ in own})
            )

    def images(study: Study) -> list[str]:
        return [_path(study, picture) for picture in study.in_view_order]

    row("Image Classification", [(study, images(study)) for study in corpus if is_positive(study.values)])
    seen = [(study, picture) for study in corpus for picture in study.pictures if study.split != "test"]
    row(
        "View Classification",
        [(study, [_path(study, picture)]) for study, picture in seen if picture.view in ("AP", "PA", "")],
    )
    reported = [study for study in corpus if study.reported]
    for section in ("findings", "impression"):
        told = [
            (study, getattr(study, f"{section}_kind"))
            for study in reported
            if getattr(study, f"{section}_kind") != NONE
        ]
        kept = [(study, images(study)) for study, kind in told if kind != EMPTIED]
        changed = [
            (study, [images(by_name[f"{study.patient}/study{study.number - 1}"])[0], images(study)[0]])
            for study, kind in told
            if study.number > 1 and kind is not Voice.PLAIN
        ]
        row(f"{section.title()} Generation", kept)
        row(f"{section.title()} Generation with Indication", kept)
        row(f"Progression {section.title()} Generation", changed)
    return rows


def _traps(corpus: list[Study]) -> dict[str, int]:
    def labelled(*values: float | None) -> list[Study]:
        return [
            study
            for study in corpus
            if any(value in values for value in study.values.values()) and 1.0 not in study.values.values()
        ]

    uncertain = labelled(-1.0)
    return {
        "uncertain_only_that_counts": sum(is_positive(study.values) for study in uncertain),
        "uncertain_only_that_does_not_count": sum(not is_positive(study.values) for study in uncertain),
        "without_any_label": sum(not is_positive(study.values) for study in corpus)
        - sum(not is_positive(study.values) for study in uncertain),
        "images_ll_or_rl": sum(picture.view in ("LL", "RL") for study in corpus for picture in study.pictures),
        "studies_listing_lateral_first": sum(
            study.pictures[0].view == "" and len(study.pictures) > 1 for study in corpus
        ),
        "studies_listing_ap_before_pa": sum(
            [picture.view for picture in study.pictures][:2] == ["AP", "PA"] for study in corpus
        ),
        "studies_ten_and_more": sum(study.number >= 10 for study in corpus),
        "studies_without_report": sum(not study.reported and study.split != "test" for study in corpus),
        "findings_emptied_by_cleaning": sum(study.findings_kind == EMPTIED and study.reported for study in corpus),
        "impression_emptied_by_cleaning": sum(study.impression_kind == EMPTIED and study.reported for study in corpus),
        "blank_clinical_history": sum(study.history is None and study.reported for study in corpus),
        "first_study_with_keyword_in_impression": sum(
            study.number == 1 and study.impression_kind not in (NONE, Voice.PLAIN) and study.reported
            for study in corpus
        ),
    }


def _facts(corpus: list[Study]) -> dict[str, SplitFacts]:
    facts = {}
    for split in FOLDERS:
        own = [study for study in corpus if study.split == split]
        sections = {
            name: [getattr(study, name) for study in own if study.reported and getattr(study, name)]
            for name in ("findings", "impression", "history")
        }
        facts[split] = SplitFacts(
            studies=len(own),
            images=sum(len(study.pictures) for study in own),
            patients=len({study.patient for study in own}),
            words={name: sum(len(text.split()) for text in texts) for name, texts in sections.items()},
            texts={name: len(texts) for name, texts in sections.items()},
            sexes={
                sex: sum(study.sex == name for study in own)
                for sex, name in (("M", "Male"), ("F", "Female"), ("unknown", "Unknown"))
            },
            views={
                view or "null": sum(picture.view == view for study in own for picture in study.pictures)
                for view in ("AP", "PA", "LL", "RL", "")
            },
        )
    return facts
