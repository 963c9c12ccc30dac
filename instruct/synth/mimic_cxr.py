"""Synthetic MIMIC-CXR: the tables of MIMIC-CXR-JPG 2.x, its JPGs, the zip of reports and the sectioned reports.

Other corpora are about MIMIC-CXR studies. They ask :func:`corpus` for the same studies, which needs no files, and
:func:`beside` to have the files written next to their own.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from instruct.synth.files import start
from instruct.synth.mimic_cxr_corpus import SPLITS, Picture, Study, corpus, drawing, pair_images, plans
from instruct.synth.mimic_cxr_counts import planted_counts, planted_traps, split_facts
from instruct.synth.mimic_cxr_labels import LABELS
from instruct.synth.mimic_cxr_reports import csv_text
from instruct.synth.mimic_cxr_views import PATTERNS, code_meaning
from instruct.synth.planted import Planted

__all__ = ["SPLITS", "Picture", "Study", "beside", "corpus", "drawing", "pair_images", "write"]

FOLDER = "mimic_cxr"
METADATA, SPLIT = "mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-split.csv.gz"
CHEXPERT, SECTIONED = "mimic-cxr-2.0.0-chexpert.csv.gz", "mimic_cxr_sectioned.csv"
REPORTS, IMAGES = "mimic-cxr-reports.zip", "files"


def beside(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Path:
    """Folder of the MIMIC-CXR corpus next to the folder of a corpus that is about it, written if it is not there."""
    folder = root.parent / FOLDER
    if not (folder / METADATA).exists():
        write(folder, studies=studies, seed=seed, images=images)
    return folder


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic MIMIC-CXR corpus.

    Args:
        root: folder to write into.
        studies: number of studies, 20 or more.
        seed: any integer.
        images: also write ``files/``.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a MIMIC-CXR corpus is there already.
    """
    start(root, studies, (METADATA, SPLIT, CHEXPERT, SECTIONED, REPORTS, IMAGES))
    found = corpus(studies, seed)
    order = sorted(found, key=lambda study: (study.subject_id, study.study_id))
    _write_tables(root, order)
    with zipfile.ZipFile(root / REPORTS, "w", zipfile.ZIP_DEFLATED) as archive:
        for study in order:
            entry = zipfile.ZipInfo(f"files/{study.folder}/{study.study}.txt", (2100, 1, 1, 0, 0, 0))
            archive.writestr(entry, study.report, zipfile.ZIP_DEFLATED)
    if images:
        for study in found:
            (root / IMAGES / study.folder / study.study).mkdir(parents=True)
            for picture in study.images:
                pixels = drawing(study, picture, seed).pixels8()
                Image.fromarray(pixels).save(root / IMAGES / picture.path, format="JPEG", quality=80)
    traps = planted_traps(found, plans(studies, seed))
    return Planted(FOLDER, planted_counts(found), traps, split_facts(found))


def _write_tables(root: Path, order: Sequence[Study]) -> None:
    """Tables as published: by patient, study and image name, so that views come in no order."""
    rows = [
        (study, picture) for study in order for picture in sorted(study.images, key=lambda picture: picture.dicom_id)
    ]
    procedures = {pattern.views: pattern.procedure for pattern in PATTERNS}
    _gzip_csv(
        root / METADATA,
        (
            "dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows",
            "Columns", "StudyDate", "StudyTime", "ProcedureCodeSequence_CodeMeaning",
            "ViewCodeSequence_CodeMeaning", "PatientOrientationCodeSequence_CodeMeaning",
        ),
        (
            (
                picture.dicom_id, study.subject_id, study.study_id, procedure, picture.view, picture.height,
                picture.width, study.date, study.time, procedure, code_meaning(picture.view),
                "Erect" if picture.view in ("PA", "LATERAL", "LL") else "",
            )
            for study, picture in rows
            for procedure in [procedures[tuple(each.view for each in study.images)]]
        ),
    )  # fmt: skip
    _gzip_csv(
        root / SPLIT,
        ("dicom_id", "study_id", "subject_id", "split"),
        ((picture.dicom_id, study.study_id, study.subject_id, study.split) for study, picture in rows),
    )
    _gzip_csv(
        root / CHEXPERT,
        ("subject_id", "study_id", *LABELS),
        ((study.subject_id, study.study_id, *study.labels.values()) for study in order if study.labels is not None),
    )
    with (root / SECTIONED).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("study", "impression", "findings", "last_paragraph", "comparison"))
        for study in order:
            if study.sectioned:
                found = study.sections
                texts = (found.impression, found.findings, found.last_paragraph, found.comparison)
                table.writerow((study.study, *(csv_text(text) for text in texts)))


def _gzip_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(header)
    table.writerows(["" if value is None else value for value in row] for row in rows)
    with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
        packed.write(text.getvalue().encode())
