"""PadChest of BIMCV: 160,000 images of 67,000 patients with 174 findings, 19 diagnoses and Spanish reports.

Layout: Bustos et al., "PadChest", Medical Image Analysis 2020; https://bimcv.cipf.es/bimcv-projects/padchest. Images
are 16-bit PNGs in 52 numbered folders, which some users flatten.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, View, column
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins

VIEWS = (
    "POSTEROANTERIOR", "PA", "ANTEROPOSTERIOR", "AP", "", "LATERAL", "LL", "OBLICUA", "RL", "LLD", "GENERICA",
)  # fmt: skip
"""The published order of views; "" is a blank. A view that is not listed comes last."""
_IMAGE_FOLDERS = ("images", ".")

_text = pa.string()
IMAGES = Table(
    "One row per image, in the order of the table.",
    pa.schema(
        [
            column("image", _text, "ImageID", False),
            column(
                "file",
                _text,
                "the image below the image folder: <ImageDir>/<ImageID>, or ImageID where flattened",
                False,
            ),
            column("study", _text, "StudyID", False),
            column("patient", _text, "PatientID"),
            column("split", _text, "always train: the release has no splits", False),
            column("date", pa.date32(), "StudyDate_DICOM; null where it is no date"),
            column("view", _text, "ViewPosition_DICOM; null where blank"),
            column(
                "view_rank", pa.int32(), "place of the view in the published order, from 1; 12 where not in it", False
            ),
            column("projection", _text, "Projection, curated: PA, L, AP, AP_horizontal, COSTAL, EXCLUDE, UNK"),
            column(
                "labels", pa.list_(_text), "Labels: trimmed, each once, without empty ones, in the order written", False
            ),
            column("method", _text, "MethodLabel: Physician, or the name of an automatic method"),
            column("report", _text, "Report: Spanish, stemmed, lower case; null where blank"),
            column("birth", pa.int32(), "PatientBirth: year"),
            column("sex", _text, "PatientSex_DICOM: M, F or O"),
            column("origin", _text, "file and row, the header being row 1", False),
        ]
    ),
)

STUDIES = View(
    "One row per study: its images by view (ties by ImageID), and the labels of the first of them.",
    "SELECT study, arg_min(patient, (view_rank, image)) AS patient, 'train' AS split,"
    " list(file ORDER BY view_rank, image) AS images, arg_min(labels, (view_rank, image)) AS labels,"
    " arg_min(origin, (view_rank, image)) AS origin FROM padchest.images GROUP BY study",
)

_REQUIRED = ("ImageID", "ImageDir", "StudyID", "ViewPosition_DICOM", "Labels")
_OPTIONAL = ("PatientID", "StudyDate_DICOM", "PatientBirth", "PatientSex_DICOM", "Projection", "MethodLabel", "Report")


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the label table into ``images``.

    Raises:
        DataError: the table is malformed, an image has no study, or Labels is no list of texts.
    """
    path = files["labels"][0]
    optional = {**dict.fromkeys(_OPTIONAL, _text), "PatientBirth": pa.float64()}
    table = read_csv(path, dict.fromkeys(_REQUIRED, _text), optional=optional).combine_chunks()
    cells = {name: table[name].combine_chunks() for name in table.column_names}
    for name in ("ImageID", "StudyID"):
        if cells[name].null_count:
            row = pc.index(pc.is_null(cells[name]), True).as_py()
            raise DataError(f"{path}: row {row + 2} has no {name}")
    views = cells["ViewPosition_DICOM"]
    ranks = pc.fill_null(pc.index_in(pc.fill_null(views, ""), value_set=pa.array(VIEWS)), len(VIEWS))
    arrays = [
        cells["ImageID"],
        _places(files.root, cells["ImageDir"], cells["ImageID"]),
        cells["StudyID"],
        cells["PatientID"],
        pa.repeat(pa.scalar("train"), len(table)),
        _dates(cells["StudyDate_DICOM"]),
        views,
        pc.add(ranks, 1).cast(pa.int32()),
        cells["Projection"],
        _labels(path, cells["Labels"]),
        cells["MethodLabel"],
        cells["Report"],
        cells["PatientBirth"].cast(pa.int32(), safe=False),
        cells["PatientSex_DICOM"],
        origins(files.relative(path), len(table), 2),
    ]
    return {"images": pa.table(arrays, schema=IMAGES.schema)}


def _places(root: Path, folders: pa.Array, images: pa.Array) -> pa.Array:
    """Where the images are below the image folder: in their numbered folders unless these are gone."""
    top = root / _IMAGE_FOLDERS[0] if (root / _IMAGE_FOLDERS[0]).is_dir() else root
    numbered = [name for name in pc.unique(folders).to_pylist() if name]
    if top.is_dir() and not any((top / name).is_dir() for name in numbered) and next(top.glob("*.png"), None):
        return images
    return pc.coalesce(pc.binary_join_element_wise(folders, images, "/"), images)


def _dates(written: pa.Array) -> pa.Array:
    days = pc.if_else(pc.match_substring_regex(written, r"^\d{8}$"), written, None)
    return pc.strptime(days, format="%Y%m%d", unit="s", error_is_null=True).cast(pa.date32())


def _labels(path: Path, written: pa.Array) -> pa.Array:
    """The lists that are written as Python would print them; most texts stand many times."""
    encoded = written.dictionary_encode()
    lists: list[list[str]] = []
    for number, text in enumerate(encoded.dictionary.to_pylist()):
        try:
            labels = ast.literal_eval(text)
            if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
                raise ValueError
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            row = pc.index(encoded.indices, number).as_py()
            raise DataError(
                f"{path}: row {row + 2} has Labels {text!r}; expected a list of texts such as ['normal']"
            ) from None
        lists.append(list(dict.fromkeys(label.strip() for label in labels if label.strip())))
    rows = pc.fill_null(encoded.indices, len(lists))
    return pa.array([*lists, []], pa.list_(_text)).take(rows)


_NAME = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"

SOURCE = Source(
    name="padchest",
    title="PadChest",
    homepage="https://bimcv.cipf.es/bimcv-projects/padchest",
    folders=("padchest", "PadChest", "PADCHEST", "BIMCV-PadChest"),
    inputs=(
        Input(
            "labels",
            (_NAME, f"{_NAME}.gz", "PADCHEST_chest_x_ray_images_labels_160K*.csv*"),
            "Request PadChest from BIMCV (data use terms, no sharing) at https://bimcv.cipf.es/bimcv-projects/padchest.",
        ),
    ),
    image_folders=_IMAGE_FOLDERS,
    tables={"images": IMAGES},
    views={"studies": STUDIES},
    read=read,
)
