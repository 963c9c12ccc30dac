"""MIMIC-CXR and MIMIC-CXR-JPG: 377,110 images of 227,835 studies of 65,379 patients, with reports and CheXpert labels.

Layout: https://physionet.org/content/mimic-cxr-jpg/ (tables, JPGs) and https://physionet.org/content/mimic-cxr/
(reports). ``mimic_cxr_sectioned.csv`` is what the owners' script makes of the reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from instruct.errors import DataError
from instruct.sources.arrays import Chunks
from instruct.sources.base import Files, Input, Options, Rows, Source, Table, View, column
from instruct.sources.csv_files import read_csv, refuse_others, refuse_repeated
from instruct.sources.mimic_cxr_images import (
    IMAGES,
    SPLITS,
    origins_of,
    paths_of,
    read_images,
    runs,
    with_paths,
)
from instruct.sources.mimic_cxr_reports import OBTAIN_REPORTS, OBTAIN_SECTIONED, SECTIONS, read_sections
from instruct.sources.mimic_keys import numbered_keys

LABELS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Fracture", "Lung Lesion",
    "Lung Opacity", "No Finding", "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax", "Support Devices",
)  # fmt: skip
_FRONTAL = ("PA", "AP", "AP AXIAL", "AP LLD", "AP RLD", "PA RLD", "PA LLD")
_AT_A_TIME = 5_000
_LATERAL = ("LATERAL", "LL", "XTABLE LATERAL", "SWIMMERS")


class MimicCxrOptions(Options):
    """Options of the MIMIC-CXR reader."""

    sections: Literal["auto", "csv", "reports", "none"] = Field(
        default="auto",
        description="Where the report sections come from. reports: all from the reports, sectioned by this package. "
        "csv: from mimic_cxr_sectioned.csv; the indication, which that file lacks, from the reports where they are "
        "there. auto: as csv where there is that file, else as reports; the reports must be there. none: no texts.",
    )


_text = pa.string()
_LABEL = pa.struct([("label", _text), ("value", pa.float64())])
STUDIES = Table(
    "One row per study that has an image, ordered by patient and study.",
    pa.schema(
        [
            column("study", _text, "s and the study_id; numbers are random, not in order of time", False),
            column("patient", _text, "p and the subject_id", False),
            column("split", _text, "train, val (validate) or test of the official split", False),
            column("date", pa.date32(), "StudyDate of its earliest image"),
            column("time", pa.float64(), "StudyTime of its earliest image, in seconds of the day"),
            column("images", pa.list_(_text), "its images by position", False),
            column("frontal_image", _text, "the first image that is a frontal view; null where there is none"),
            column("lateral_image", _text, "the first image that is a lateral view; null where there is none"),
            column(
                "labels",
                pa.list_(_LABEL),
                "the 14 CheXpert labels in alphabetical order: 1, 0, -1 (uncertain) or null (not mentioned); null "
                "where the study has no row in the label table",
            ),
            *(
                column(name, _text, f"section {name}, on one line; null where missing or without a letter")
                for name in SECTIONS
            ),
            column("origin", _text, "metadata file and row of its first image", False),
        ]
    ),
)

STUDIES_WITH_PRIOR = View(
    "Every study with the study of the same patient that comes just before it, by date, time and study.",
    "SELECT *, lag(struct_pack(study := study, images := images, date := date,"
    " frontal_image := frontal_image, lateral_image := lateral_image))"
    " OVER (PARTITION BY split, patient ORDER BY date NULLS FIRST, time NULLS FIRST, study) AS prior"
    " FROM mimic_cxr.studies",
)


def read(files: Files, options: MimicCxrOptions) -> dict[str, Rows]:
    """Read the tables and the reports into ``images`` and ``studies``.

    Raises:
        DataError: a file is malformed, an image has no split, a study has two patients or splits, or the texts are to
            come from a file that is missing.
    """
    images = read_images(files)
    starts, lengths = runs(images["study"])
    _check(files, images, starts, lengths)
    name = files.relative(files["metadata"][0])
    labels = _labels(files["chexpert"][0])
    sections = read_sections(files, options.sections)  # the most of all, so it comes last
    return {
        "images": with_paths(images, name),
        "studies": _studies(images, name, starts, lengths, sections, *labels),
    }


def _studies(
    images: pa.Table,
    name: str,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    sections: list[pa.Table],
    labelled: pa.Array,
    labels: pa.Table,
) -> Iterator[pa.RecordBatch]:
    """The studies piece by piece: the names of their labels, their texts and paths are most of the table."""
    earliest = _earliest(images, starts, lengths)
    views = {"frontal_image": _first_of(images, starts, _FRONTAL), "lateral_image": _first_of(images, starts, _LATERAL)}
    ends = np.append(starts, len(images))
    every = images["study"].take(pa.array(starts)).combine_chunks()
    label_rows = pc.index_in(every, labelled)
    text_rows = [pc.index_in(every, table["study"]) for table in sections]
    texts = [Chunks(table) for table in sections]
    missing = pa.scalar(None, _text)
    for start in range(0, len(starts), _AT_A_TIME):
        piece = slice(start, start + _AT_A_TIME)
        offsets = ends[start : start + _AT_A_TIME + 1]
        shown = images.slice(offsets[0], offsets[-1] - offsets[0])
        first = images.take(pa.array(starts[piece]))
        times = images.take(pa.array(earliest[piece]))
        columns: dict[str, Any] = {
            "study": first["study"],
            "patient": first["patient"],
            "split": first["split"],
            "date": times["date"],
            "time": times["time"],
            "images": pa.ListArray.from_arrays(pa.array(offsets - offsets[0], pa.int32()), paths_of(shown)),
            **{view: paths_of(images.take(rows[piece])) for view, rows in views.items()},
            "labels": _label_lists(labels, label_rows[piece]),
            **{section: pa.repeat(missing, len(first)) for section in SECTIONS},
            "origin": origins_of(first, name),
        }
        for chunks, rows in zip(texts, text_rows, strict=True):
            found = chunks.take(rows[piece])
            columns |= dict(zip(found.schema.names[1:], found.columns[1:], strict=True))
        yield from pa.table([columns[field.name] for field in STUDIES.schema], schema=STUDIES.schema).to_batches()


def _check(files: Files, images: pa.Table, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Hold each study to one patient and one split."""
    first = pa.array(starts)
    studies = images["study"].take(first)
    if pc.count_distinct(studies).as_py() != len(studies):
        counts = pc.value_counts(studies)
        study = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")[0].as_py()
        places = images.take(first.filter(pc.equal(studies, study).combine_chunks()))
        named = ", ".join(origins_of(places, files.relative(files["metadata"][0])).to_pylist())
        raise DataError(
            f"{files.root}: study {study} has several patients, {', '.join(places['patient'].to_pylist())}"
            f" ({named}); expected one"
        )
    split = np.asarray(pc.index_in(images["split"], pa.array(list(SPLITS.values()))))
    mixed = np.flatnonzero(split != np.repeat(split[starts], lengths))
    if len(mixed):
        study = images["study"][int(mixed[0])]
        raise DataError(f"{files['split'][0]}: study {study} has images in several splits; expected one")


def _earliest(images: pa.Table, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of each study's earliest image; images without a date come last."""
    day = pc.fill_null(images["date"].cast(pa.int32()), 2**30).to_numpy().astype(np.float64)
    moment = day * 86_400 + pc.fill_null(images["time"], 86_400).to_numpy()
    study = np.repeat(np.arange(len(starts)), lengths)
    return np.lexsort((moment, study))[starts]


def _first_of(images: pa.Table, starts: NDArray[np.int64], views: tuple[str, ...]) -> pa.Array:
    """Row of the first image of each study that is one of some views; null where there is none."""
    rows = np.arange(len(images))
    fits = np.asarray(pc.fill_null(pc.is_in(images["view"], pa.array(views)), False))
    first = np.minimum.reduceat(np.where(fits, rows, len(images)), starts) if len(starts) else rows
    return pa.array(first, mask=first == len(images))


def _labels(path: Path) -> tuple[pa.Array, pa.Table]:
    """The studies of the label table, and its labels."""
    found = read_csv(path, {"study_id": _text, **dict.fromkeys(LABELS, pa.float64())})
    refuse_others(path, found, LABELS, (1, 0, -1, None))
    keys = numbered_keys(found["study_id"], "s", path, "study_id", 2)
    refuse_repeated(path, keys, "study")
    small = pa.schema([(label, pa.int8()) for label in LABELS])
    return keys, found.select(list(LABELS)).cast(small).combine_chunks()


def _label_lists(labels: pa.Table, rows: pa.Array) -> pa.Array:
    """Some rows of the label table as lists; null where the row is null."""
    labelled = np.asarray(pc.is_valid(rows))
    taken = labels.take(rows.drop_null())
    values = np.stack([taken[label].to_numpy() for label in LABELS], axis=1, dtype=np.float64).reshape(-1)
    names = pa.array(LABELS * len(taken), _text)
    entries = pa.StructArray.from_arrays([names, pa.array(values, pa.float64(), from_pandas=True)], fields=list(_LABEL))
    offsets = np.append(0, np.cumsum(labelled * len(LABELS)))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), entries, mask=pa.array(~labelled))


_JPG = ("", "mimic-cxr-jpg/2.1.0/", "mimic-cxr-jpg/2.0.0/", "mimic-cxr-jpg/")
_TEXT = ("", "mimic-cxr/2.1.0/", "mimic-cxr/2.0.0/", "mimic-cxr/")
_OBTAIN = "Download it from https://physionet.org/content/mimic-cxr-jpg/ (credentialed access)."


def _table(name: str) -> tuple[str, ...]:
    return tuple(f"{folder}mimic-cxr-2.0.0-{name}.csv{end}" for folder in _JPG for end in (".gz", ""))


SOURCE = Source(
    name="mimic_cxr",
    title="MIMIC-CXR and MIMIC-CXR-JPG",
    homepage="https://physionet.org/content/mimic-cxr-jpg/",
    folders=("mimic_cxr", "mimic-cxr", "MIMIC-CXR", "MIMIC-CXR-JPG", "physionet.org/files", "physionet"),
    inputs=(
        Input("metadata", _table("metadata"), _OBTAIN),
        Input("split", _table("split"), _OBTAIN),
        Input("chexpert", _table("chexpert"), _OBTAIN),
        Input(
            "sectioned",
            tuple(f"{folder}mimic_cxr_sectioned.csv{end}" for folder in _TEXT for end in ("", ".gz")),
            OBTAIN_SECTIONED,
            required=False,
        ),
        Input(
            "reports",
            (
                *(f"{folder}mimic-cxr-reports.zip" for folder in _TEXT),
                "mimic-cxr-reports/files/p*/p*/s*.txt",
                "reports/files/p*/p*/s*.txt",
                "reports/p*/p*/s*.txt",
                *(f"{folder}files/p*/p*/s*.txt" for folder in _TEXT[1:]),
                "files/p*/p*/s*.txt",
            ),
            OBTAIN_REPORTS,
            required=False,
        ),
    ),
    image_folders=tuple(f"{folder}files" for folder in _JPG),
    images_beside="metadata",  # reports, too, may lie in a folder of that name
    tables={"images": IMAGES, "studies": STUDIES},
    views={"studies_with_prior": STUDIES_WITH_PRIOR},
    read=read,
    options=MimicCxrOptions,
)
