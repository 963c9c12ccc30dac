"""Synthetic CXR-LT: ``cxr-lt-2023/{train,development,test}.csv`` and ``cxr-lt-2024/train_labeled.csv``.

Labels only, about the studies of the synthetic MIMIC-CXR. The challenge's split is by image here, so a study has rows
in several tables, and knows nothing of MIMIC-CXR's own split. As in the real tables, some rows lack the study, so that
the other study numbers are written as decimals.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.mimic_cxr import SPLITS, Picture, Study, beside, corpus
from instruct.synth.mimic_cxr_views import code_meaning
from instruct.synth.planted import Counts, Planted, SplitFacts

FOLDER = "cxr_lt"
FOLDER_2023, FOLDER_2024 = "cxr-lt-2023", "cxr-lt-2024"
TABLES = ("train", "development", "test")

SHARED_CLASSES = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
NEW_CLASSES = (
    "Calcification of the Aorta", "Emphysema", "Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule",
    "Pleural Thickening", "Pneumomediastinum", "Pneumoperitoneum", "Subcutaneous Emphysema", "Tortuous Aorta",
)  # fmt: skip
CLASSES_2023 = tuple(sorted((*SHARED_CLASSES, *NEW_CLASSES, "No Finding")))
_CLASSES_ADDED_2024 = (
    "Adenopathy", "Azygos Lobe", "Clavicle Fracture", "Fissure", "Granuloma", "Hydropneumothorax", "Infarction",
    "Kyphosis", "Lobar Atelectasis", "Pulmonary Embolism", "Pulmonary Hypertension", "Rib Fracture",
    "Round(ed) Atelectasis", "Tuberculosis",
)  # fmt: skip
CLASSES_2024 = tuple(sorted((*SHARED_CLASSES, *NEW_CLASSES, "Normal", *_CLASSES_ADDED_2024)))
_IDS_2023 = ("dicom_id", "subject_id", "study_id", "ViewPosition", "ViewCodeSequence_CodeMeaning")
_WITH_NEW = 0.4


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table.

    Attributes:
        study: the study.
        picture: the image.
        labels: classes that are 1.
        blank: whether the study's number is left out.
    """

    study: Study
    picture: Picture
    labels: frozenset[str]
    blank: bool


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic CXR-LT, and the MIMIC-CXR corpus it is about beside it if it is not there.

    Args:
        root: folder to write into.
        studies: studies of the MIMIC-CXR corpus, 20 or more.
        seed: seed of both.
        images: also write the images of the MIMIC-CXR corpus, if that is written.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a CXR-LT corpus is there already.
    """
    start(root, studies, (FOLDER_2023, FOLDER_2024))
    beside(root, studies=studies, seed=seed, images=images)
    tables = _tables(corpus(studies, seed), seed)
    (root / FOLDER_2023).mkdir()
    (root / FOLDER_2024).mkdir()
    for name, rows in tables.items():
        _write(root / FOLDER_2023 / f"{name}.csv", rows, _IDS_2023, CLASSES_2023)
    _write(root / FOLDER_2024 / "train_labeled.csv", tables["train"], (*_IDS_2023, "fpath"), CLASSES_2024)
    train = tables["train"]
    firsts = _firsts(train)
    here = Counter(row.study.study_id for row in train)
    traps = {
        "rows_without_study": sum(row.blank for row in train),
        "studies_without_new_class": sum(not (row.labels & set(NEW_CLASSES)) for row in firsts.values()),
        "studies_with_images_in_other_tables": sum(len(study.images) > here[study.study_id] for study in firsts),
        "studies_held_out_by_mimic_cxr": sum(study.split != "train" for study in firsts),
        "studies_without_train_row": studies - len({row.study for row in train}),
    }
    return Planted(FOLDER, {"[Image Classification] [CXR-LT]": _counts(firsts)}, traps, _facts(tables))


def _tables(found: Sequence[Study], seed: int) -> dict[str, list[Row]]:
    """Rows of the three tables: about 70, 10 and 20 % of the images, whatever their study.

    Where an image goes and whether a study has one of the new classes does not depend on the seed.
    """
    kinds, draws = Draws(0, "cxr_lt", "kinds"), Draws(seed, "cxr_lt")
    tables: dict[str, list[Row]] = {name: [] for name in TABLES}
    numbers = Counter[str]()
    for k, study in enumerate(found):
        number = numbers[study.split]  # the first two of each split are good for the row, at any size
        numbers[study.split] += 1
        stream = kinds.stream(study.split, number)
        labels = _labels(study, draws.stream("labels", k), has_new=number < 2 or stream.chance(_WITH_NEW))
        for j, picture in enumerate(study.images):
            name = "train" if number < 2 and j == 0 else stream.pick(("train",) * 7 + ("development",) + ("test",) * 2)
            tables[name].append(Row(study, picture, labels, blank=number > 1 and stream.chance(0.06)))
    for name, rows in tables.items():
        order = kinds.permutation(f"order of {name}", len(rows))
        tables[name] = _with_strays([rows[i] for i in order])
    return tables


def _with_strays(rows: list[Row]) -> list[Row]:
    """Give every third study that has a second row other labels in that row; the first row is what counts."""
    seen: Counter[Study] = Counter()
    changed = []
    for row in rows:
        seen[row.study] += not row.blank
        stray = seen[row.study] == 2 and not row.blank and row.study.study_id % 3 == 0
        changed.append(replace(row, labels=frozenset({"Mass", "Hernia"})) if stray else row)
    return changed


def _labels(study: Study, stream: Stream, *, has_new: bool) -> frozenset[str]:
    state = study.state
    labels = {label for label, value in (study.labels or {}).items() if value == 1}
    if has_new:
        told = {"Tortuous Aorta": state.aorta, "Emphysema": state.hyperinflation, "Nodule": state.granuloma}
        labels |= {label for label, there in told.items() if there} or {stream.pick(NEW_CLASSES)}
        labels.discard("No Finding")
    return frozenset(labels)


def _firsts(rows: Iterable[Row]) -> dict[Study, Row]:
    """First row of each study that has one with its number."""
    firsts: dict[Study, Row] = {}
    for row in rows:
        if not row.blank:
            firsts.setdefault(row.study, row)
    return firsts


def _counts(firsts: dict[Study, Row]) -> dict[str, Counts]:
    counts = {}
    for split, name in SPLITS.items():
        kept = [study for study, row in firsts.items() if study.split == split and row.labels & set(NEW_CLASSES)]
        counts[name] = Counts(len(kept), sum(len(study.images) for study in kept), len(kept))
    return counts


def _facts(tables: dict[str, list[Row]]) -> dict[str, SplitFacts]:
    """Facts about the rows of the train table, by the official split of their studies."""
    facts = {}
    for split, name in SPLITS.items():
        rows = [row for row in tables["train"] if row.study.split == split]
        studies = {row.study for row in rows}
        facts[name] = SplitFacts(len(studies), len(rows), len({study.subject_id for study in studies}), {}, {})
    return facts


def _write(path: Path, rows: Iterable[Row], ids: tuple[str, ...], classes: tuple[str, ...]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow((*ids, *classes))
        for row in rows:
            study, picture = row.study, row.picture
            labels = {"Normal" if label == "No Finding" and "Normal" in classes else label for label in row.labels}
            values = {
                "dicom_id": picture.dicom_id,
                "subject_id": study.subject_id,
                "study_id": "" if row.blank else f"{study.study_id}.0",
                "ViewPosition": picture.view,
                "ViewCodeSequence_CodeMeaning": code_meaning(picture.view),
                "fpath": f"files/{picture.path}",
            }
            table.writerow((*(values[name] for name in ids), *(int(name in labels) for name in classes)))
