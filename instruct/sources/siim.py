"""SIIM-ACR Pneumothorax Segmentation 2019: masks of pneumothorax on ChestX-ray14 images.

Layout: the Kaggle competition ``siim-acr-pneumothorax-segmentation``, stage 1 (``train-rle.csv``); the later
``stage_2_train.csv`` is read where that is not there. Masks are run lengths over 1024 by 1024 pixels in column order,
each gap counted from the end of the run before.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.regions import Runs, runs_of_gaps
from instruct.sources.arrays import first_rows, lists_of_rows, places
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins
from instruct.sources.listing import files_in

SIDE = 1024
NOTHING = "-1"
_FOLDERS = ("dicom-images-train", "dicom-images-test", "stage_2_images")
_OBTAIN = (
    "Join the Kaggle competition siim-acr-pneumothorax-segmentation and get the stage 1 files (train-rle.csv, "
    "dicom-images-train/)."
)

_text = pa.string()
IMAGES = Table(
    "One row per image of the label table, in its order. An image counts as a study; patients are not published.",
    pa.schema(
        [
            column("image_id", _text, "ImageId: SOP instance UID, also the stem of the file name", False),
            column("image", _text, "its file; where it is not on disk, <image_id>.dcm", False),
            column("masks", pa.int32(), "regions with pneumothorax; 0 for none", False),
            column("origin", _text, "file and line of its first row", False),
        ]
    ),
)

MASKS = Table(
    "One row per region with pneumothorax. An image with several has several rows: its mask is their union.",
    pa.schema(
        [
            column("image_id", _text, "image", False),
            column("number", pa.int32(), "place among the regions of its image, from 1", False),
            column("mask", _text, "the region as COCO's compressed run lengths", False),
            column("area", pa.int64(), "its pixels", False),
            column("box", pa.list_(pa.float64()), "tight box around it: x1, y1, x2, y2 as shares, 0-1", False),
            column("size", pa.list_(pa.int32()), "height and width of the image: 1024, 1024", False),
            column("origin", _text, "file and line", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the label table into ``images`` and ``masks``.

    Raises:
        DataError: a row lacks a value, a run-length text is malformed, or an image has both a mask and none.
    """
    path = files["labels"][0]
    name = files.relative(path)
    table = read_csv(path, {"ImageId": _text, "EncodedPixels": _text}).combine_chunks()
    encoded = table["EncodedPixels"].combine_chunks()
    blank = np.asarray(pc.or_(table["ImageId"].is_null(), encoded.is_null()))
    if blank.any():
        raise DataError(f"{path}:{np.flatnonzero(blank)[0] + 2}: expected an ImageId and run lengths, or {NOTHING}")
    ids = table["ImageId"].combine_chunks().dictionary_encode()
    codes = np.asarray(ids.indices)
    has_mask = np.asarray(pc.not_equal(encoded, NOTHING))
    rows = np.flatnonzero(has_mask)
    masks = np.bincount(codes[rows], minlength=len(ids.dictionary))
    both = ~has_mask & (masks[codes] > 0)
    if both.any():
        line = int(np.flatnonzero(both)[0])
        raise DataError(f"{path}:{line + 2}: image {table['ImageId'][line]} has a mask in another row, and none here")

    runs = _runs(path, encoded.take(pa.array(rows)), rows)
    lines = origins(name, len(table), 2)
    images = [
        ids.dictionary,
        _places(files.root, ids.dictionary),
        pa.array(masks, pa.int32()),
        lines.take(pa.array(first_rows(codes))),
    ]
    regions = [
        ids.dictionary.take(pa.array(codes[rows])),
        pa.array(places(codes[rows]), pa.int32()),
        pa.array(runs.compressed(), _text),
        pa.array(runs.areas(), pa.int64()),
        lists_of_rows(runs.boxes()),
        lists_of_rows(np.full((len(rows), 2), SIDE, np.int32)),
        lines.take(pa.array(rows)),
    ]
    return {"images": pa.table(images, schema=IMAGES.schema), "masks": pa.table(regions, schema=MASKS.schema)}


def _runs(path: Path, texts: pa.StringArray, rows: np.ndarray) -> Runs:
    """The masks of run-length texts, of which row ``rows[k]`` of the file holds the k-th."""
    numbers = pc.ascii_split_whitespace(texts)
    try:
        values = numbers.flatten().cast(pa.int32())
    except pa.ArrowInvalid:
        for row, text in zip(rows, texts.to_pylist(), strict=True):
            if not all(number.isdecimal() and int(number) < 2**31 for number in text.split()):
                raise DataError(
                    f"{path}:{row + 2}: run lengths must be whole numbers of at most {SIDE * SIDE}; found {text[:40]!r}"
                ) from None
        raise
    try:
        return runs_of_gaps(np.asarray(values), np.asarray(numbers.offsets, np.int64), SIDE, SIDE)
    except ValueError as error:
        message, at = error.args
        raise DataError(f"{path}:{rows[at] + 2}: {message}") from None


def _places(root: Path, images: pa.StringArray) -> pa.StringArray:
    """Path of each image's DICOM file; stage 1 has two folders of UIDs above each."""
    found = sorted(path for path in files_in(root, _FOLDERS) if path.endswith(".dcm"))
    named = pc.binary_join_element_wise(images, "dcm", ".")
    if not found:
        return named
    stems = pa.array([path.rpartition("/")[2][:-4] for path in found], _text)
    return pc.coalesce(pa.array(found, _text).take(pc.index_in(images, stems)), named)


SOURCE = Source(
    name="siim",
    title="SIIM-ACR Pneumothorax Segmentation",
    homepage="https://www.kaggle.com/c/siim-acr-pneumothorax-segmentation",
    folders=("siim", "SIIM", "siim-acr-pneumothorax-segmentation", "siim-acr"),
    inputs=(Input("labels", ("train-rle.csv", "stage_2_train.csv"), _OBTAIN),),
    image_folders=(".",),
    tables={"images": IMAGES, "masks": MASKS},
    read=read,
)
