"""BRAX of Hospital Israelita Albert Einstein: 40,967 images of 19,351 patients, 14 labels of the CheXpert kind.

Layout: Reis et al., "BRAX, Brazilian labeled chest x-ray dataset", PhysioNet. Read is the master spreadsheet, by
the names of its columns.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, View, column
from instruct.sources.csv_files import read_csv, refuse_others
from instruct.sources.files import origins

LABELS = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Lesion", "Lung Opacity", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
VIEWS = ("PA", "AP", "AP LLD", "L", "RL", "RLO", "LT-DECUB")
"""The published order of views; a blank or another view comes last. The first three are frontal, L and RL lateral."""
_FRONTAL, _LATERAL = ("PA", "AP", "AP LLD"), ("L", "RL")

_text = pa.string()
_LABEL = pa.struct([pa.field("label", _text), pa.field("value", pa.float64())])
IMAGES = Table(
    "One row per image, in the order of the spreadsheet.",
    pa.schema(
        [
            column("image", _text, "PngPath: images/id_.../Study_.../Series_.../image-....png", False),
            column("study", _text, "AccessionNumber", False),
            column("patient", _text, "PatientID: id_ and a UUID", False),
            column("view", _text, "ViewPosition; null where blank"),
            column(
                "view_rank", pa.int32(), "place of the view in the published order, from 1; 8 where not in it", False
            ),
            column("direction", _text, "Frontal (PA, AP, AP LLD), Lateral (L, RL) or null"),
            column("labels", pa.list_(_LABEL), "the 14 labels: 1, 0, -1 (uncertain) or null (blank)", False),
            column("age", _text, "PatientAge: a bin of five years, written as its start or as a text"),
            column("sex", _text, "PatientSex: M or F"),
            column("origin", _text, "file and row, the header being row 1", False),
        ]
    ),
)

STUDIES = View(
    "One row per study: its images by view (ties by path), the first frontal and the first lateral one (null if none),"
    " and the labels of the first image.",
    "SELECT study, arg_min(patient, (view_rank, image)) AS patient, list(image ORDER BY view_rank, image) AS images,"
    " arg_min(image, (view_rank, image)) FILTER (direction = 'Frontal') AS frontal_image,"
    " arg_min(image, (view_rank, image)) FILTER (direction = 'Lateral') AS lateral_image,"
    " arg_min(labels, (view_rank, image)) AS labels, arg_min(origin, (view_rank, image)) AS origin"
    " FROM brax.images GROUP BY study",
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the spreadsheet into ``images``.

    Raises:
        DataError: the spreadsheet is malformed, a row lacks its path, patient or study, or a label is no such number.
    """
    path = files["spreadsheet"][0]
    texts = dict.fromkeys(("PngPath", "PatientID", "AccessionNumber", "ViewPosition"), _text)
    table = read_csv(
        path,
        {**texts, **dict.fromkeys(LABELS, pa.float64())},
        optional={"PatientAge": _text, "PatientSex": _text},
    ).combine_chunks()
    cells = {name: table[name].combine_chunks() for name in table.column_names}
    for name in ("PngPath", "PatientID", "AccessionNumber"):
        if cells[name].null_count:
            row = pc.index(pc.is_null(cells[name]), True).as_py()
            raise DataError(f"{path}:{row + 2}: no {name}")
    refuse_others(path, table, LABELS, (1, 0, -1, None))
    views = cells["ViewPosition"]
    ranks = pc.fill_null(pc.index_in(views, value_set=pa.array(VIEWS)), len(VIEWS))
    frontal, lateral = (pc.is_in(views, value_set=pa.array(names)) for names in (_FRONTAL, _LATERAL))
    values = np.stack([table[label].to_numpy() for label in LABELS], axis=1)
    names = pa.array(LABELS).take(pa.array(np.tile(np.arange(len(LABELS)), len(table))))
    labels = pa.StructArray.from_arrays([names, pa.array(values.ravel(), from_pandas=True)], fields=list(_LABEL))
    arrays = [
        cells["PngPath"],
        cells["AccessionNumber"],
        cells["PatientID"],
        views,
        pc.add(ranks, 1).cast(pa.int32()),
        pc.if_else(frontal, "Frontal", pc.if_else(lateral, "Lateral", pa.scalar(None, _text))),
        pa.ListArray.from_arrays(pa.array(np.arange(len(table) + 1, dtype=np.int32) * len(LABELS)), labels),
        cells["PatientAge"],
        cells["PatientSex"],
        origins(files.relative(path), len(table), 2),
    ]
    return {"images": pa.table(arrays, schema=IMAGES.schema)}


_FOLDERS = ("1.1.0/", "brax/1.1.0/", "1.0.0/", "brax/1.0.0/", "")
_NAMES = ("master_spreadsheet_update.csv", "master_spreadsheet.csv")

SOURCE = Source(
    name="brax",
    title="BRAX",
    homepage="https://physionet.org/content/brax",
    folders=("brax", "BRAX", "Brax"),
    inputs=(
        Input(
            "spreadsheet",
            tuple(f"{folder}{name}" for name in _NAMES for folder in _FOLDERS),
            "Download it from https://physionet.org/content/brax (credentialed access).",
        ),
    ),
    image_folders=tuple(folder.rstrip("/") or "." for folder in _FOLDERS),
    tables={"images": IMAGES},
    views={"studies": STUDIES},
    read=read,
)
