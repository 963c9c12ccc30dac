"""CheXpert and CheXpert Plus of Stanford: 223,414 training images of 187,641 studies, 14 labels, and their reports.

Layout: Irvin et al., "CheXpert", AAAI 2019; Chambon et al., "CheXpert Plus", 2024; the release pages of Stanford AIMI.
Either of the two is enough: CheXpert has labels and views, CheXpert Plus reports and views of the same studies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Rows, Source, Table, View, column
from instruct.sources.chexpert_parts import (
    LABELS,
    SECTIONS,
    Floats,
    Part,
    Reports,
    join,
    read_groundtruth,
    read_labels,
    read_plus,
)
from instruct.sources.chexpert_paths import SPLITS, Ints, Paths

# Order of a study's images. A frontal image whose direction is not stated comes after PA and AP.
_RANKS = {"PA": 0, "AP": 1, "LL": 4, "RL": 5}
_FRONTAL_RANK, _LATERAL_RANK = 2, 3

_AT_A_TIME = 20_000

_text = pa.string()
_LABEL = pa.struct([pa.field("label", _text), pa.field("value", pa.float64())])
IMAGES = Table(
    "One row per image, ordered by split, patient, study and the image's place in its study.",
    pa.schema(
        [
            column(
                "image", _text, "train/patient00001/study1/view1_frontal.jpg: no prefix, whatever the edition", False
            ),
            column("file", _text, "the image below the image folder; ends in .png where that is PNG/", False),
            column("study", _text, "patient00001/study1", False),
            column("patient", _text, "patient00001", False),
            column("number", pa.int32(), "number of the study; a patient's numbers follow time", False),
            column("split", _text, "train, val (valid) or test", False),
            column("projection", _text, "Frontal or Lateral", False),
            column("view", _text, "AP, PA, LL or RL; null for laterals, and for all of test"),
            column(
                "position",
                pa.int32(),
                "place in the study, from 1: PA, AP, Lateral, LL, RL; then by view number",
                False,
            ),
            column("sex", _text, "Male or Female"),
            column("age", pa.int32(), "years; null where unknown (0)"),
            column("origin", _text, "file and row, the header being row 1", False),
        ]
    ),
)

STUDIES = Table(
    "One row per study, in the order of the images.",
    pa.schema(
        [
            column("study", _text, "patient00001/study1", False),
            column("patient", _text, "patient00001", False),
            column("number", pa.int32(), "number of the study; a patient's numbers follow time", False),
            column("split", _text, "train, val (valid) or test", False),
            column("images", pa.list_(_text), "files of its images below the image folder, by position", False),
            column("labels", pa.list_(_LABEL), "14 labels: 1, 0, -1 (uncertain) or null (blank); null if not labelled"),
            *(
                column(name, _text, f"{section} of CheXpert Plus, white space collapsed; null where missing")
                for name, section in SECTIONS.items()
            ),
            column("origin", _text, "file and row of its first image, the header being row 1", False),
            column("report_origin", _text, "file and row in CheXpert Plus; null without a report"),
        ]
    ),
)

STUDIES_WITH_PRIOR = View(
    "Every study, with the one of the same patient and split whose number is one less (9 before 10), if there is one.",
    "SELECT study.*, CASE WHEN prior.study IS NOT NULL"
    " THEN struct_pack(study := prior.study, images := prior.images) END AS prior"
    " FROM chexpert.studies AS study LEFT JOIN chexpert.studies AS prior"
    " ON prior.split = study.split AND prior.patient = study.patient AND prior.number = study.number - 1",
)


def read(files: Files, options: Options) -> dict[str, Rows]:
    """Read the label tables and CheXpert Plus into ``images`` and ``studies``.

    Raises:
        DataError: a table is missing or malformed, a path is not of the published form, or the test images lie apart.
    """
    if bool(files["train"]) != bool(files["valid"]):
        found, missing = ("train", "valid") if files["train"] else ("valid", "train")
        raise DataError(f"{files[found][0]}: there is no {missing}.csv beside it. {_OBTAIN}")
    folder = SOURCE.image_folder(files.root)
    beside = files.root / "test"
    if folder != files.root and beside.is_dir() and not (folder / "test").is_dir():
        raise DataError(
            f"{beside}: the test images lie beside the folder that holds the others; move them into it, or link them:"
            f" ln -s {os.path.relpath(beside, folder)} {folder / 'test'}"
        )
    return _tables(*_joined(files, folder), ".png" if folder.name == "PNG" else ".jpg")


def _joined(files: Files, folder: Path) -> tuple[Part, Reports | None]:
    parts = [read_labels(files, name) for name in ("train", "valid", "test") if files[name]]
    if files["groundtruth"] and not files["test"]:
        parts.append(read_groundtruth(files, folder))
    reports = None
    if files["plus"]:
        part, reports = read_plus(files)
        parts.append(part)
    return join(parts), reports


def _tables(part: Part, reports: Reports | None, ending: str) -> dict[str, Rows]:
    views = part.about["AP/PA"].combine_chunks()
    projections = _projections(part)
    ranks = np.where(np.asarray(pc.equal(projections, "Lateral")), _LATERAL_RANK, _FRONTAL_RANK)
    for view, rank in _RANKS.items():
        ranks[np.asarray(pc.fill_null(pc.equal(views, view), False))] = rank
    order = np.argsort((part.paths.study_key * 8 + ranks) * 1000 + part.paths.view, kind="stable")
    paths = part.paths.take(order)
    about = pa.table(
        {
            "projection": projections,
            "view": views,
            **{name.lower(): part.about[name].combine_chunks() for name in ("Sex", "Age")},
            "origin": part.origin,
        }
    ).take(pa.array(order))
    keys = paths.study_key
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    labels = _label_rows(part, order, starts)
    return {
        "images": _images(paths, about, starts, ending),
        "studies": _studies(paths, about["origin"], starts, ending, part.labels, labels, reports),
    }


def _images(paths: Paths, about: pa.Table, starts: Ints, ending: str) -> Iterator[pa.RecordBatch]:
    """The images, piece by piece."""
    positions = np.arange(len(about)) - np.repeat(starts, np.diff(np.append(starts, len(about)))) + 1
    for start in range(0, len(about), _AT_A_TIME):
        piece = about.slice(start, _AT_A_TIME)
        rows = np.arange(start, start + len(piece))
        some = paths.take(rows)
        columns = {
            "image": some.images(),
            "file": some.images(ending),
            **_named(some),
            "position": pa.array(positions[rows], pa.int32()),
            "projection": piece["projection"],
            "view": piece["view"],
            "sex": pc.if_else(pc.is_in(piece["sex"], pa.array(["Male", "Female"])), piece["sex"], None),
            "age": pc.if_else(pc.greater(piece["age"], 0), piece["age"], None),
            "origin": piece["origin"],
        }
        yield from pa.table([columns[field.name] for field in IMAGES.schema], schema=IMAGES.schema).to_batches()


def _studies(
    paths: Paths,
    origin: pa.ChunkedArray,
    starts: Ints,
    ending: str,
    labels: Floats,
    labelled: pa.Array,
    reports: Reports | None,
) -> Iterator[pa.RecordBatch]:
    """The studies, piece by piece."""
    ends = np.append(starts, len(origin))
    for start in range(0, len(starts), _AT_A_TIME):
        offsets = ends[start : start + _AT_A_TIME + 1]
        first = paths.take(offsets[:-1])
        shown = paths.take(np.arange(offsets[0], offsets[-1])).images(ending)
        columns = {
            **_named(first),
            "images": pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), shown),
            "labels": _label_lists(labels, labelled.slice(start, len(first.split))),
            **_report_columns(reports, first.study_key),
            "origin": origin.take(pa.array(offsets[:-1])),
        }
        yield from pa.table([columns[field.name] for field in STUDIES.schema], schema=STUDIES.schema).to_batches()


def _named(paths: Paths) -> dict[str, pa.Array]:
    """Study, patient, number of the study and split."""
    return {
        "study": paths.studies(),
        "patient": paths.patient,
        "number": pa.array(paths.number, pa.int32()),
        "split": pa.array(SPLITS).take(pa.array(paths.split)),
    }


def _projections(part: Part) -> pa.Array:
    """Frontal or Lateral: as the table says, or else as the file is named."""
    named = pa.array(["Frontal", "Lateral"]).take(pa.array(part.paths.lateral.astype(np.int64)))
    return pc.coalesce(part.about["Frontal/Lateral"].combine_chunks(), named)


def _label_rows(part: Part, order: Ints, starts: Ints) -> pa.Array:
    """Each study's first labelled image: within a study all have the same labels. Null where it has none."""
    count = len(order)
    places = np.where(part.labelled[order], np.arange(count), count)
    first = np.minimum.reduceat(places, starts) if count else places
    missing = first == count
    return pa.array(order[np.where(missing, 0, first)] if count else first, mask=missing)


def _label_lists(labels: Floats, rows: pa.Array) -> pa.ListArray:
    """Some rows of the labels as lists; null where the row is null."""
    values = labels[np.asarray(pc.fill_null(rows, 0))]
    names = pa.array(LABELS * len(rows), _text)
    numbers = pa.array(values.ravel(), from_pandas=True).cast(pa.float64())
    flat = pa.StructArray.from_arrays([names, numbers], fields=list(_LABEL))
    offsets = pa.array(np.arange(len(rows) + 1, dtype=np.int32) * len(LABELS))
    return pa.ListArray.from_arrays(offsets, flat, mask=pc.is_null(rows))


def _report_columns(reports: Reports | None, keys: Ints) -> dict[str, pa.Array]:
    """The sections and the origin of each study's report, null where it has none."""
    if reports is None:
        return dict.fromkeys((*SECTIONS, "report_origin"), pa.nulls(len(keys), _text))
    places = np.searchsorted(reports.keys, keys)
    missing = np.append(reports.keys, -1)[places] != keys
    rows = pa.array(places, mask=missing)
    return {name: texts.take(rows) for name, texts in reports.columns.items()}


_OBTAIN = (
    "CheXpert and CheXpert Plus come from Stanford AIMI after registration and a research-use agreement; the labels of"
    " its test set (groundtruth.csv) lie on GitHub."
)


def _below(name: str) -> tuple[str, ...]:
    return (f"CheXpert-v1.0/{name}", f"CheXpert-v1.0-small/{name}", f"CheXpert*/{name}", name)


_PLUS = tuple(f"{folder}df_chexpert_plus_*.csv" for folder in ("chexpertplus/", "CheXpert*Plus/", ""))

SOURCE = Source(
    name="chexpert",
    title="CheXpert and CheXpert Plus",
    homepage="https://stanfordmlgroup.github.io/competitions/chexpert",
    folders=("chexpert", "CheXpert", "chexpert-public"),
    inputs=(
        Input("tables", (*_below("train.csv"), *_PLUS, *_below("groundtruth.csv")), _OBTAIN),
        Input("train", _below("train.csv"), _OBTAIN, required=False),
        Input("valid", _below("valid.csv"), _OBTAIN, required=False),
        Input("test", (*_below("test.csv"), *_below("test_labels.csv")), _OBTAIN, required=False),
        Input("groundtruth", _below("groundtruth.csv"), _OBTAIN, required=False),
        Input("plus", _PLUS, _OBTAIN, required=False),
    ),
    image_folders=("CheXpert-v1.0", "CheXpert-v1.0-small", "chexpertplus/PNG", "PNG", "."),
    images_within="train",
    tables={"images": IMAGES, "studies": STUDIES},
    views={"studies_with_prior": STUDIES_WITH_PRIOR},
    marks=(b"Path,", b"path_to_image", b"Study,"),
    read=read,
)
