"""Synthetic PadChest: the label table (gzipped if wanted) and 16-bit PNGs in numbered folders."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instruct.synth.draw import View, draw_chest
from instruct.synth.files import start, write_png
from instruct.synth.keyed import Draws
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import apportion, scatter
from instruct.synth.state import ChestState, StateTable, draw_states

TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
IMAGES = "images"

_COLUMNS = (
    "", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth", "PatientSex_DICOM",
    "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "Modality_DICOM", "Manufacturer_DICOM",
    "PhotometricInterpretation_DICOM", "PixelRepresentation_DICOM", "PixelAspectRatio_DICOM",
    "SpatialResolution_DICOM", "BitsStored_DICOM", "WindowCenter_DICOM", "WindowWidth_DICOM", "Rows_DICOM",
    "Columns_DICOM", "XRayTubeCurrent_DICOM", "Exposure_DICOM", "ExposureInuAs_DICOM", "ExposureTime_DICOM",
    "RelativeXRayExposure_DICOM", "ReportID", "Report", "MethodLabel", "Labels", "Localizations",
    "LabelsLocalizationsBySentence", "labelCUIS", "LocalizationsCUIS",
)  # fmt: skip

# Views of a study's images in file order (ViewPosition_DICOM, Projection), with the share of such studies.
_VIEWS: dict[tuple[tuple[str, str], ...], int] = {
    (("POSTEROANTERIOR", "PA"),): 30, (("LATERAL", "L"), ("POSTEROANTERIOR", "PA")): 40,
    (("AP", "AP_horizontal"),): 12, (("PA", "PA"), ("LL", "L")): 10, (("", "PA"), ("LATERAL", "L")): 4,
    (("OBLICUA", "COSTAL"), ("ANTEROPOSTERIOR", "AP")): 2, (("GENERICA", "UNK"),): 1, (("EXTRANA", "EXCLUDE"),): 1,
}  # fmt: skip
_ORDINARY, _NONE, _EMPTY, _META, _META_AND_MORE, _MANY, _MOST = range(7)
_KIND_SHARES = (88, 1, 1, 3, 3, 1, 1)
_MOST_SHOWN = 16
_MORE = (
    "aortic elongation", "air trapping", "apical pleural thickening", "atelectasis", "bronchiectasis", "goiter",
    "callus rib fracture", "calcified granuloma", "copd signs", "costophrenic angle blunting", "fibrotic band",
    "dorsal vertebrae wear", "hiatal hernia", "hilar congestion", "kyphosis", "nodule", "scoliosis", "sternotomy",
    "vascular redistribution",
)  # fmt: skip
_META_LABELS = ("unchanged", "suboptimal study", "exclude")
_SIDE = 128


@dataclass(frozen=True)
class Study:
    """One study: ids, views in file order, state and labels as they are meant."""

    study: str
    patient: str
    images: tuple[str, ...]
    views: tuple[tuple[str, str], ...]
    folder: int
    state: ChestState
    labels: tuple[str, ...]
    kind: int


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True, packed: bool = False) -> Planted:
    """Write a synthetic PadChest.

    Args:
        root: folder to write into.
        studies: number of studies, 20 or more.
        seed: any integer.
        images: also write ``images/<ImageDir>/*.png``.
        packed: write the table as ``.csv.gz``.

    Returns:
        What was planted; all of it is train.

    Raises:
        UsageError: too few studies, or a PadChest corpus is there already.
    """
    start(root, studies, (TABLE, f"{TABLE}.gz", IMAGES))
    draws = Draws(seed, "padchest")
    corpus = _plan(draws, studies)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    number = 0
    for k, study in enumerate(corpus):
        cells = _cells(draws, k, study)
        for image, (view, projection) in zip(study.images, study.views, strict=True):
            own = {"": number, "ImageID": image, "ViewPosition_DICOM": view, "Projection": projection}
            writer.writerow([(cells | own).get(column, "") for column in _COLUMNS])
            number += 1
    content = text.getvalue().encode()
    if packed:
        with (root / f"{TABLE}.gz").open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file:
            file.write(content)
    else:
        (root / TABLE).write_bytes(content)
    if images:
        _draw(root / IMAGES, draws.child("pictures"), corpus)
    return Planted("padchest", _counts(corpus), _traps(corpus), _facts(corpus))


def _plan(draws: Draws, studies: int) -> list[Study]:
    index = np.arange(studies, dtype=np.int64)
    patients = np.cumsum(draws.uniform("same patient", index) > 0.35)
    positions = np.zeros(studies, dtype=np.int64)
    for k in range(1, studies):
        positions[k] = positions[k - 1] + 1 if patients[k] == patients[k - 1] else 0
    states = draw_states(draws.child("states"), positions)
    patterns = scatter(draws, "views", apportion(studies, list(_VIEWS.values()), range(len(_VIEWS))))
    kinds = scatter(draws, "labels", apportion(studies, _KIND_SHARES, range(len(_KIND_SHARES))))
    corpus = []
    for k in range(studies):
        views = tuple(_VIEWS)[patterns[k]]
        corpus.append(
            Study(
                study=_digits(draws, "study", k, 45),
                patient=_digits(draws, "patient", int(patients[k]), 38),
                images=tuple(f"{_digits(draws, 'image', 4 * k + j, 45)}_00-000-{j:03d}.png" for j in range(len(views))),
                views=views,
                folder=draws.stream("folder", k).pick((0, 1, 3, 17, 50, 54)),
                state=states.at(k),
                labels=_labels(draws, k, states, int(kinds[k])),
                kind=int(kinds[k]),
            )
        )
    return corpus


def _digits(draws: Draws, name: str, index: int, length: int) -> str:
    """A number of so many digits, too long for any integer or float; different for every index."""
    return f"{draws.number(name, index) % 10**30:030d}".rjust(length - 8, "9") + f"{index:08d}"


def _labels(draws: Draws, k: int, states: StateTable, kind: int) -> tuple[str, ...]:
    """Labels of a study, as they are meant."""
    state, stream = states.at(k), draws.stream("labels", k)
    if kind in (_NONE, _EMPTY):
        return ()
    if kind == _META:
        return (_META_LABELS[stream.below(len(_META_LABELS))],)
    if kind in (_MANY, _MOST):
        order = draws.child("many").permutation(str(k), len(_MORE))
        return tuple(_MORE[place] for place in order[: _MOST_SHOWN + (kind == _MANY)])
    found = {
        "cardiomegaly": state.heart, "pleural effusion": state.effusion_left or state.effusion_right,
        "pneumonia": state.opacity == 3, "infiltrates": state.opacity in (1, 2), "pneumothorax": state.pneumothorax,
        "granuloma": state.granuloma, "aortic elongation": state.aorta, "rib fracture": state.fracture,
        "hyperinflated lung": state.hyperinflation, "vertebral degenerative changes": state.degenerative,
    }  # fmt: skip
    labels = [label for label, there in found.items() if there]
    if labels and stream.chance(0.3):
        labels.append(stream.pick([label for label in _MORE if label not in labels]))
    labels = labels or ["normal"]
    return (*labels, "unchanged") if kind == _META_AND_MORE else tuple(labels)


def _cells(draws: Draws, k: int, study: Study) -> dict[str, object]:
    stream = draws.stream("cells", k)
    written = [label if place == 0 else f" {label}" for place, label in enumerate(study.labels)]
    if study.kind != _NONE and stream.chance(0.2) and not set(study.labels) & {"normal"}:
        written.append("")
    if study.kind == _EMPTY:
        written = [""]
    return {
        "ImageDir": study.folder,
        "StudyDate_DICOM": 20100101 + 10000 * stream.below(8) + 100 * stream.below(12) + stream.below(28),
        "StudyID": study.study,
        "PatientID": study.patient,
        "PatientBirth": "" if stream.chance(0.1) else f"{1930 + stream.below(70)}.0",
        "PatientSex_DICOM": stream.pick(("M", "F", "F", "O")),
        "MethodProjection": "Manual review of DICOM fields",
        "Pediatric": "No",
        "Modality_DICOM": stream.pick(("CR", "DX")),
        "BitsStored_DICOM": 12,
        "Rows_DICOM": _SIDE,
        "Columns_DICOM": _SIDE,
        "ReportID": 4_000_000 + k,
        "Report": "" if stream.chance(0.05) else " . ".join(f"{label[:5]} vist" for label in study.labels) + " .",
        "MethodLabel": stream.pick(("Physician", "RNN_model")),
        "Labels": "" if study.kind == _NONE else repr(written),
        "Localizations": "['loc left']",
        "LabelsLocalizationsBySentence": repr([[label, "loc left"] for label in study.labels]),
    }


def _draw(folder: Path, draws: Draws, corpus: Sequence[Study]) -> None:
    for k, study in enumerate(corpus):
        place = folder / str(study.folder)
        place.mkdir(parents=True, exist_ok=True)
        for j, (image, (_, projection)) in enumerate(zip(study.images, study.views, strict=True)):
            view: View = "lateral" if projection == "L" else "frontal"
            drawing = draw_chest(study.state, view, draws, 8 * k + j, height=_SIDE, width=_SIDE)
            write_png(place / image, drawing.pixels16())


def _answers(study: Study) -> set[str]:
    return set(study.labels) - set(_META_LABELS)


def _counts(corpus: Sequence[Study]) -> dict[str, dict[str, Counts]]:
    kept = [study for study in corpus if 1 <= len(_answers(study)) <= _MOST_SHOWN]
    train = Counts(len(kept), sum(len(study.images) for study in kept), len(kept))
    nothing = Counts(0, 0, 0)
    return {"[Image Classification] [PadChest]": {"train": train, "val": nothing, "test": nothing}}


def _traps(corpus: Sequence[Study]) -> dict[str, int]:
    kinds = [study.kind for study in corpus]
    return {
        "studies_with_blank_labels": kinds.count(_NONE),
        "studies_with_empty_label_only": kinds.count(_EMPTY),
        "studies_with_meta_label_only": kinds.count(_META),
        "studies_with_meta_label_and_findings": kinds.count(_META_AND_MORE),
        "studies_with_too_many_labels": kinds.count(_MANY),
        "studies_with_as_many_labels_as_fit": kinds.count(_MOST),
        "studies_listing_lateral_first": sum(
            study.views[0][1] == "L" or study.views[0][0] == "OBLICUA" for study in corpus
        ),
        "images_of_unknown_view": sum(view == "EXTRANA" for study in corpus for view, _ in study.views),
    }


def _facts(corpus: Sequence[Study]) -> dict[str, SplitFacts]:
    views = [view or "null" for study in corpus for view, _ in study.views]
    facts = SplitFacts(
        studies=len(corpus),
        images=len(views),
        patients=len({study.patient for study in corpus}),
        words={},
        texts={},
        views={view: views.count(view) for view in sorted(set(views))},
    )
    return {"train": facts}
