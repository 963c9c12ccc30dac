"""MS-CXR: phrases of radiologists about MIMIC-CXR images, with the boxes they speak of.

Layout: https://physionet.org/content/ms-cxr (the CSV file of release 1.1.0 or 1.0.0, or the COCO file beside it, which
holds the same). Studies, patients and images are MIMIC-CXR's.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, View, column
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins
from instruct.sources.mimic_keys import are_keys, image_paths, path_parts
from instruct.sources.ms_cxr_coco import read_coco

_TEXTS = ("category_name", "label_text", "path")
_SIDES = ("x", "y", "w", "h")
_SIZES = ("image_width", "image_height")

_text = pa.string()
BOXES = Table(
    "One row per box, in file order.",
    pa.schema(
        [
            column("number", pa.int64(), "number of the row or annotation in the file, from 1", False),
            column("image", _text, "image, as a path below MIMIC-CXR-JPG's files/", False),
            column("dicom_id", _text, "DICOM id of the image", False),
            column("study", _text, "MIMIC-CXR study, s and its number", False),
            column("patient", _text, "MIMIC-CXR patient, p and its number", False),
            column("category", _text, "one of eight findings", False),
            column("phrase", _text, "what a radiologist says of the box, and perhaps of others", False),
            column("first_box", pa.int64(), "number of the first box of the same image and phrase", False),
            column("x", pa.float64(), "left side in pixels of the image", False),
            column("y", pa.float64(), "upper side in pixels", False),
            column("w", pa.float64(), "width in pixels, above 0", False),
            column("h", pa.float64(), "height in pixels, above 0", False),
            column("image_width", pa.int32(), "width of the image in pixels", False),
            column("image_height", pa.int32(), "height of the image in pixels", False),
            column("release_split", _text, "split of release 1.1.0, which is not MIMIC-CXR's; null in 1.0.0"),
            column("origin", _text, "file and number of the row, or of the annotation of a COCO file", False),
        ]
    ),
)

PHRASES = View(
    "One row per image and phrase, with all its boxes, each once, ordered by their upper left corner. A phrase that"
    " is filed under two categories is one row with both.",
    """
    WITH shares AS (
        SELECT first_box, category, image_height, image_width,
            [greatest(x, 0) / image_width, greatest(y, 0) / image_height,
             least(x + w, image_width) / image_width, least(y + h, image_height) / image_height] AS box
        FROM ms_cxr.boxes
    ), marked AS (
        SELECT first_box, box, any_value(image_height) AS height, any_value(image_width) AS width,
            array_to_string(list_sort(list(DISTINCT category)), ' and ') AS category
        FROM shares GROUP BY first_box, box
    ), drawn AS (
        SELECT first_box,
            list({'image': 0, 'label': category, 'box': box, 'mask': NULL, 'size': [height, width]}
                 ORDER BY box)::STRUCT(image INTEGER, label VARCHAR, box DOUBLE[], mask VARCHAR, size INTEGER[])[]
            AS regions
        FROM marked GROUP BY first_box
    ), filed AS (
        SELECT first_box, array_to_string(list_sort(list(DISTINCT category)), ' and ') AS category
        FROM ms_cxr.boxes GROUP BY first_box
    )
    SELECT dicom_id || '#' || row_number() OVER (PARTITION BY image ORDER BY number) AS phrase_id,
        image, study, patient, phrase, filed.category, regions, origin
    FROM ms_cxr.boxes JOIN drawn USING (first_box) JOIN filed USING (first_box) WHERE number = first_box
    """,
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the table of boxes.

    Raises:
        DataError: a column or cell is missing, a path is no MIMIC-CXR path, or a box has no area.
    """
    (path,) = files["boxes"]
    if path.suffix == ".json":
        table = read_coco(path)

        def place(row: int) -> str:
            return f"{path}: annotation {row + 1}"
    else:
        numbers = dict.fromkeys((*_SIDES, *_SIZES), pa.float64())
        table = read_csv(path, {**dict.fromkeys(_TEXTS, _text), **numbers}, optional={"split": _text})

        def place(row: int) -> str:
            return f"{path}:{row + 2}"

    return {"boxes": _boxes(table, files.relative(path), place)}


def _boxes(table: pa.Table, name: str, place: Callable[[int], str]) -> pa.Table:
    _refuse_gaps(table, place)
    patients, studies, names = path_parts(table["path"])
    ends = pc.or_(pc.ends_with(names, ".jpg"), pc.ends_with(names, ".dcm"))
    good = pc.and_(pc.and_(are_keys(patients, "p"), are_keys(studies, "s")), ends)
    if not pc.all(good, min_count=0).as_py():
        row = pc.index(good, False).as_py()
        raise DataError(
            f"{place(row)}: path {table['path'][row].as_py()!r}; expected files/p../p<subject>/s<study>/<dicom id>.jpg"
        )
    dicom_ids = pc.utf8_slice_codeunits(names, 0, -len(".jpg"))
    images = image_paths(patients, studies, dicom_ids)
    columns = [
        pa.array(np.arange(1, len(table) + 1)),
        images,
        dicom_ids,
        studies,
        patients,
        table["category_name"],
        table["label_text"],
        _first_boxes(images, table["label_text"]),
        *(table[side] for side in _SIDES),
        *(table[size].cast(pa.int32()) for size in _SIZES),
        table["split"],
        origins(name, len(table)),
    ]
    return pa.table(columns, schema=BOXES.schema)


def _first_boxes(images: pa.Array, phrases: pa.ChunkedArray) -> pa.Array:
    """Of each box the number of the first one of its image and phrase."""
    image, phrase = (np.asarray(values.dictionary_encode().indices) for values in (images, phrases.combine_chunks()))
    pairs = image.astype(np.int64) * len(phrase) + phrase
    _, first, pair = np.unique(pairs, return_index=True, return_inverse=True)
    return pa.array(first[pair] + 1)


def _refuse_gaps(table: pa.Table, place: Callable[[int], str]) -> None:
    for name in (*_TEXTS, *_SIDES, *_SIZES):
        values = table[name]
        bad = pc.is_null(values)
        if name in ("w", "h", *_SIZES):
            bad = pc.or_(bad, pc.fill_null(pc.less_equal(values, 0), True))
        if pc.any(bad, min_count=0).as_py():
            row = pc.index(bad, True).as_py()
            raise DataError(f"{place(row)}: {name} is {values[row].as_py()!r}; every box needs its {name}")


_NAMES = tuple(
    f"MS_CXR_Local_Alignment_v{release}.{form}" for release in ("1.1.0", "1.0.0") for form in ("csv", "json")
)

SOURCE = Source(
    name="ms_cxr",
    title="MS-CXR",
    homepage="https://physionet.org/content/ms-cxr",
    folders=("ms_cxr", "ms-cxr", "MS-CXR", "mscxr", "physionet.org/files/ms-cxr"),
    inputs=(
        Input(
            "boxes",
            tuple(folder + name for name in _NAMES for folder in ("", "*/")),
            "Sign the agreement of ms-cxr on PhysioNet (credentialed access) and download it.",
        ),
    ),
    image_folders=("files",),
    tables={"boxes": BOXES},
    views={"phrases": PHRASES},
    read=read,
)
