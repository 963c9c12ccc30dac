"""CXR-LT: long-tailed labels of MIMIC-CXR images, from the challenges of 2023 and 2024. Labels only.

Layout: https://physionet.org/content/cxr-lt-iccv-workshop-cvamd/. Read is the labelled train table of 2023 or, where
it is absent, that of 2024: one row per image, ids first, then one column per class with 1 or 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.sources.base import Files, Input, Options, Rows, Source, Table, column
from instruct.sources.csv_files import csv_columns, read_csv, refuse, refuse_others, refuse_repeated
from instruct.sources.files import origins
from instruct.sources.mimic_keys import numbered_keys

NEW_CLASSES = (
    "Calcification of the Aorta", "Emphysema", "Fibrosis", "Hernia", "Infiltration", "Mass", "Nodule",
    "Pleural Thickening", "Pneumomediastinum", "Pneumoperitoneum", "Subcutaneous Emphysema", "Tortuous Aorta",
)  # fmt: skip
# Columns that say which image a row is about. As published they come first, and every column after the last of them is
# a class; in another order, every column but these.
_IDS = ("dicom_id", "subject_id", "study_id", "ViewPosition", "ViewCodeSequence_CodeMeaning", "fpath", "path", "split")

_AT_A_TIME = 5_000
_text = pa.string()
IMAGES = Table(
    "One row per row of the table, in its order: an image of MIMIC-CXR.",
    pa.schema(
        [
            column("row", pa.int32(), "number of the row, from 1", False),
            column("dicom_id", _text, "name of the image in MIMIC-CXR", False),
            column("study", _text, "s and the study_id of MIMIC-CXR; null where the cell is blank"),
            column("patient", _text, "p and the subject_id of MIMIC-CXR", False),
            column("classes", pa.list_(_text), "the classes that the table knows, in its order", False),
            column("labels", pa.list_(_text), "the classes that are 1, in the table's order", False),
            column("origin", _text, "file, and row in it", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, Rows]:
    """Read the train table.

    Raises:
        DataError: a column is missing, an id is no number, a label is neither 1 nor 0, or an image stands twice.
    """
    path = files["train"][0]
    names = list(csv_columns(path))
    classes = names[1 + max((place for place, name in enumerate(names) if name in _IDS), default=-1) :]
    if not set(NEW_CLASSES).issubset(classes):
        classes = [name for name in names if name not in _IDS]
    columns = {"dicom_id": _text, "subject_id": _text, "study_id": _text}
    found = read_csv(path, columns | dict.fromkeys((*NEW_CLASSES, *classes), pa.float64()))
    dicom = found["dicom_id"].combine_chunks()
    refuse(path, pc.is_null(dicom), lambda row: "no dicom_id; expected one in each row")
    refuse_repeated(path, dicom, "image")
    labels = np.empty((len(found), len(classes)), bool)
    refuse_others(path, found, classes, (1, 0))
    for place, name in enumerate(classes):
        labels[:, place] = found[name].to_numpy() == 1
    places = np.nonzero(labels)[1]
    offsets = np.append(0, np.cumsum(labels.sum(axis=1)))
    names = pa.array(classes, _text)
    table = pa.table(
        {
            "row": pa.array(np.arange(1, len(found) + 1), pa.int32()),
            "dicom_id": dicom,
            "study": _studies(path, found["study_id"].combine_chunks()),
            "patient": numbered_keys(_whole(found["subject_id"].combine_chunks()), "p", path, "subject_id", 2),
            "labels": pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names.take(pa.array(places))),
            "origin": origins(files.relative(path), len(found)),
        },
    )
    return {"images": _with_classes(table, names)}


def _with_classes(images: pa.Table, names: pa.Array) -> Iterator[pa.RecordBatch]:
    """The images, each with the names of all classes, piece by piece: these are most of the table."""
    every = pa.ListArray.from_arrays(pa.array([0, len(names)], pa.int32()), names)
    for start in range(0, len(images), _AT_A_TIME):
        piece = images.slice(start, _AT_A_TIME)
        piece = piece.append_column("classes", every.take(pa.array(np.zeros(len(piece), np.int64))))
        yield from piece.select(IMAGES.schema.names).cast(IMAGES.schema).to_batches()


def _whole(numbers: pa.Array) -> pa.Array:
    """Numbers as texts, without the decimals that a blank elsewhere in the column gives them: ``59999901.0``."""
    return pc.replace_substring_regex(numbers, pattern=r"\.0+$", replacement="")


def _studies(path: Path, numbers: pa.Array) -> pa.Array:
    """Study keys; null where the cell is blank."""
    given = pc.is_valid(numbers)
    keys = numbered_keys(pc.if_else(given, _whole(numbers), "50000000"), "s", path, "study_id", 2)
    return pc.if_else(given, keys, None)


_VERSIONS = ("", "2.0.0/", "1.1.0/", "1.0.0/")
_TABLES = ("cxr-lt-2023/train_labeled.csv", "cxr-lt-2023/train.csv", "cxr-lt-2024/train_labeled.csv")

SOURCE = Source(
    name="cxr_lt",
    title="CXR-LT (long-tailed labels of MIMIC-CXR)",
    homepage="https://physionet.org/content/cxr-lt-iccv-workshop-cvamd/",
    folders=("cxr_lt", "CXR-LT", "cxr-lt", "cxr-lt-iccv-workshop-cvamd"),
    inputs=(
        Input(
            "train",
            tuple(
                f"{version}{table}{end}"
                for table in (*_TABLES, "train.csv")
                for version in _VERSIONS
                if version or table != "train.csv"  # a train.csv right below a data root can be anybody's
                for end in ("", ".gz")
            ),
            "Download it from https://physionet.org/content/cxr-lt-iccv-workshop-cvamd/ (credentialed access).",
        ),
    ),
    image_folders=("files",),
    tables={"images": IMAGES},
    marks=(b"dicom_id",),
    read=read,
)
