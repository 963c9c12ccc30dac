"""The image table of MIMIC-CXR: metadata and official split of each image, in view order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from instruct.errors import DataError
from instruct.sources.base import Files, Table, column
from instruct.sources.csv_files import read_csv, refuse, refuse_repeated
from instruct.sources.mimic_keys import image_paths, numbered_keys

SPLITS = {"train": "train", "validate": "val", "test": "test"}
VIEWS = (
    "PA", "AP", "LATERAL", "LL", "AP AXIAL", "AP LLD", "AP RLD", "PA RLD", "PA LLD", "LAO", "RAO", "LPO",
    "XTABLE LATERAL", "SWIMMERS",
)  # fmt: skip

_AT_A_TIME = 5_000

_text = pa.string()
IMAGES = Table(
    "One row per image of the metadata table, ordered by patient, study and position.",
    pa.schema(
        [
            column("image", _text, "path below files/: p10/p10000032/s50414267/<dicom_id>.jpg", False),
            column("dicom_id", _text, "name of the image", False),
            column("study", _text, "s and the study_id", False),
            column("patient", _text, "p and the subject_id", False),
            column("split", _text, "train, val (validate) or test of the official split", False),
            column("view", _text, "ViewPosition; null where blank"),
            column(
                "view_rank",
                pa.int32(),
                f"place of the view in the order {', '.join(VIEWS)}, from 0; then other views; blank last",
                False,
            ),
            column("position", pa.int32(), "place among its study's images by view_rank, then dicom_id, from 1", False),
            column("date", pa.date32(), "StudyDate; shifted to 2100-2200, the same shift for a patient's studies"),
            column("time", pa.float64(), "StudyTime in seconds of the day"),
            column("height", pa.int32(), "Rows: height in pixels"),
            column("width", pa.int32(), "Columns: width in pixels"),
            column("origin", _text, "metadata file and number of the row in it, from 1", False),
        ]
    ),
)


def read_images(files: Files) -> pa.Table:
    """Read metadata and split.

    Returns:
        The columns of :data:`IMAGES` but the longest, ``image`` and ``origin``, which :func:`with_paths` adds; and
        ``row``, the number of the row in the metadata file.

    Raises:
        DataError: a file is malformed, an id or time is none, an image stands twice or has no split.
    """
    path = files["metadata"][0]
    found = read_csv(
        path,
        {
            "dicom_id": _text,
            "subject_id": _text,
            "study_id": _text,
            "ViewPosition": _text,
            "Rows": pa.int32(),
            "Columns": pa.int32(),
            "StudyDate": _text,
            "StudyTime": pa.float64(),
        },
    )
    dicom = found["dicom_id"].combine_chunks()
    found = found.drop_columns("dicom_id")
    refuse(path, pc.is_null(dicom), lambda row: "no dicom_id; expected one in each row")
    refuse_repeated(path, dicom, "image")
    split = _splits(files, path, dicom)
    patient = numbered_keys(found["subject_id"], "p", path, "subject_id", 2)
    study = numbered_keys(found["study_id"], "s", path, "study_id", 2)
    view = pc.utf8_upper(found["ViewPosition"])
    rank = pc.fill_null(pc.index_in(view, pa.array(VIEWS)), len(VIEWS))
    table = pa.table(
        {
            "dicom_id": dicom,
            "study": study,
            "patient": patient,
            "split": split,
            "view": view,
            "view_rank": pc.if_else(pc.is_null(view), len(VIEWS) + 1, rank),
            "date": _dates(path, found["StudyDate"]),
            "time": _seconds(path, found["StudyTime"]),
            "height": found["Rows"],
            "width": found["Columns"],
            "row": pa.array(np.arange(1, len(found) + 1), pa.int32()),
        }
    )
    del found, dicom, patient, study, split, view, rank
    order = pc.sort_indices(table, [(name, "ascending") for name in ("patient", "study", "view_rank", "dicom_id")])
    table = table.take(order)
    starts, lengths = runs(table["study"])
    position = np.arange(1, len(table) + 1) - np.repeat(starts, lengths)
    return table.append_column("position", pa.array(position, pa.int32()))


def with_paths(images: pa.Table, name: str) -> Iterator[pa.RecordBatch]:
    """The rows of :data:`IMAGES`, piece by piece.

    Args:
        images: what :func:`read_images` gives.
        name: the metadata file, below the source's root.
    """
    for start in range(0, len(images), _AT_A_TIME):
        piece = images.slice(start, _AT_A_TIME).combine_chunks()
        piece = piece.append_column("image", paths_of(piece)).append_column("origin", origins_of(piece, name))
        yield from piece.select(IMAGES.schema.names).cast(IMAGES.schema).to_batches()


def paths_of(images: pa.Table) -> pa.Array:
    """The paths of some images."""
    return image_paths(*(images[name].combine_chunks() for name in ("patient", "study", "dicom_id")))


def origins_of(images: pa.Table, name: str) -> pa.Array:
    """Provenance of some images: metadata file and row."""
    return pc.binary_replace_slice(images["row"].combine_chunks().cast(_text), 0, 0, f"{name}:")


def runs(values: pa.ChunkedArray) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First rows and lengths of the runs of equal values."""
    array = values.combine_chunks()
    if not len(array):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    changes = np.asarray(pc.not_equal(array[1:], array[:-1]))
    starts = np.append(0, np.flatnonzero(changes) + 1)
    return starts, np.diff(np.append(starts, len(array)))


def _splits(files: Files, metadata: Path, dicom: pa.Array) -> pa.Array:
    path = files["split"][0]
    found = read_csv(path, {"dicom_id": _text, "split": _text})
    names = pc.index_in(found["split"].combine_chunks(), pa.array(list(SPLITS)))
    written = found["split"]
    refuse(path, pc.is_null(names), lambda row: f"split {written[row]}; expected {', '.join(SPLITS)}")
    given = found["dicom_id"].combine_chunks()
    del found
    refuse_repeated(path, given, "image")
    rows = pc.index_in(dicom, given)
    refuse(
        metadata,
        pc.is_null(rows),
        lambda row: f"image {dicom[row]} has no row in {path.name}; take both files from one release",
    )
    return pa.array(list(SPLITS.values()), _text).take(names).take(rows)


def _dates(path: Path, written: pa.ChunkedArray) -> pa.ChunkedArray:
    wrong = pc.invert(pc.match_substring_regex(written, r"^[0-9]{8}$"))
    refuse(path, wrong, lambda row: f"StudyDate {written[row]}; expected YYYYMMDD")
    try:
        return pc.strptime(written, format="%Y%m%d", unit="s").cast(pa.date32())
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: a StudyDate is no date: {error}") from None


def _seconds(path: Path, written: pa.ChunkedArray) -> pa.Array:
    """Seconds of the day of times that are written as a number HHMMSS.fff, so without leading zeros."""
    run = written.to_numpy()
    hours, minutes, seconds = run // 10_000, run // 100 % 100, run % 100
    wrong = (hours < 0) | (hours > 23) | (minutes > 59) | (seconds >= 61)
    refuse(path, pa.array(wrong), lambda row: f"StudyTime {run[row]}; expected HHMMSS.fff without leading zeros")
    return pa.array(np.round(hours * 3600 + minutes * 60 + seconds, 6), from_pandas=True)
