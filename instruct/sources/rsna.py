"""RSNA Pneumonia Detection Challenge 2018: boxes of lung opacity on 26,684 ChestX-ray14 images.

Layout: the Kaggle competition ``rsna-pneumonia-detection-challenge``, stage 2. The RSNA's own page adds
``pneumonia-challenge-dataset-mappings_2018.json``, which names the ChestX-ray14 image behind each image; with it an
image is known by its patient and study there.
"""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.arrays import first_rows, lists_of_rows
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins
from instruct.sources.rsna_mapping import NAME, nih_images, nih_keys

SIDE = 1024
FOLDER = "stage_2_train_images"
_SIDES = ("x", "y", "width", "height")
_OBTAIN = "Join the Kaggle competition rsna-pneumonia-detection-challenge and get the stage 2 files."

_text = pa.string()
IMAGES = Table(
    "One row per labelled image, in the order of its identifiers.",
    pa.schema(
        [
            column("image_id", _text, "patientId: it names an image, not a patient", False),
            column("image", _text, "its file: stage_2_train_images/<image_id>.dcm", False),
            column(
                "split",
                _text,
                "train, val or test (70/15/15) by the published procedure: identifiers in order, scikit-learn's"
                " train_test_split with seed 0 and test_size 0.3, and the same with 0.5 for the rest, test before val",
                False,
            ),
            column("pneumonia", pa.bool_(), "Target: whether an opacity suspicious for pneumonia is marked", False),
            column("kind", _text, "class of the detailed table: Normal, No Lung Opacity / Not Normal, Lung Opacity"),
            column("nih_image", _text, "the ChestX-ray14 image behind it; null where the mapping is not there"),
            column("nih_study", _text, "its study in ChestX-ray14: the file name without its ending"),
            column("nih_patient", _text, "its patient in ChestX-ray14"),
            column("origin", _text, "file and line of its first row", False),
        ]
    ),
)

BOXES = Table(
    "One row per box, in the order of the label table.",
    pa.schema(
        [
            column("image_id", _text, "image", False),
            column("box", pa.list_(pa.float64()), "x1, y1, x2, y2 as shares of the 1024 by 1024 image, 0-1", False),
            column("origin", _text, "file and line", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the labels, and the class table and the mapping where they are there, into ``images`` and ``boxes``.

    Raises:
        DataError: a row's Target and box contradict each other, or an image's rows do; or the mapping is malformed.
    """
    path = files["labels"][0]
    wanted = {"patientId": _text, **dict.fromkeys(_SIDES, pa.float64()), "Target": pa.int32()}
    table = read_csv(path, wanted).combine_chunks()
    sides = np.stack([table[side].to_numpy() for side in _SIDES], axis=1)
    given = np.isfinite(sides)
    target = table["Target"].to_numpy()
    ids = table["patientId"].combine_chunks().dictionary_encode()
    if ids.null_count:
        raise DataError(f"{path}:{pc.index(ids.is_null(), True).as_py() + 2}: no patientId")
    codes = np.asarray(ids.indices)
    positive = np.bincount(codes, target == 1)
    mixed = (positive > 0) & (positive < np.bincount(codes))
    for wrong, why in (
        (~np.isin(target, (0, 1)), "Target is neither 0 nor 1"),
        ((target == 1) & ~given.all(axis=1), "Target is 1 without a whole box"),
        ((target == 0) & given.any(axis=1), "Target is 0 with a box"),
        ((target == 1) & (sides[:, 2:] <= 0).any(axis=1), "a box without width or height"),
        (mixed[codes], "the image has Target 1 in one row and 0 in another"),
    ):
        if wrong.any():
            raise DataError(f"{path}:{int(np.flatnonzero(wrong)[0]) + 2}: {why}")

    lines = origins(files.relative(path), len(table), 2)
    order = np.asarray(pc.sort_indices(ids.dictionary))
    names = ids.dictionary.take(pa.array(order))
    nih = nih_images(files["mapping"][0], names) if files["mapping"] else pa.nulls(len(names), _text)
    images = [
        names,
        pc.binary_join_element_wise(pc.binary_replace_slice(names, 0, 0, f"{FOLDER}/"), "dcm", "."),
        split(len(names)),
        pa.array(positive[order] > 0),
        _kinds(files, names),
        nih,
        *nih_keys(nih),
        lines.take(pa.array(first_rows(codes)[order])),
    ]
    rows = np.flatnonzero(target == 1)
    x, y, width, height = sides[rows].T
    corners = (np.stack([x, y, x + width, y + height], axis=1) / SIDE).clip(0, 1)
    boxes = [
        table["patientId"].take(pa.array(rows)),
        lists_of_rows(corners),
        lines.take(pa.array(rows)),
    ]
    return {"images": pa.table(images, schema=IMAGES.schema), "boxes": pa.table(boxes, schema=BOXES.schema)}


def split(images: int) -> pa.StringArray:
    """Split of each image, in the order of identifiers.

    This is what scikit-learn's ``train_test_split(test_size=0.3, random_state=0)`` does, and once more with 0.5 on what
    it put aside: the first numbers of a permutation by NumPy's legacy generator, whose numbers never change.
    """
    rest = math.ceil(0.3 * images)
    later = math.ceil(0.5 * rest)
    put_aside = np.random.RandomState(0).permutation(images)[:rest]
    names = np.zeros(images, np.int8)
    names[put_aside] = 1
    names[put_aside[np.random.RandomState(0).permutation(rest)[:later]]] = 2
    return pa.array(["train", "test", "val"], _text).take(pa.array(names))


def _kinds(files: Files, names: pa.StringArray) -> pa.StringArray:
    """Class of each image in the detailed table, which repeats an image for each of its boxes."""
    if not files["classes"]:
        return pa.nulls(len(names), _text)
    path = files["classes"][0]
    table = read_csv(path, {"patientId": _text, "class": _text}).combine_chunks()
    at = pc.index_in(names, table["patientId"])
    kinds = table["class"].combine_chunks()
    told = pc.take(kinds.take(at), pc.index_in(table["patientId"], names).combine_chunks())
    other = pc.fill_null(pc.not_equal(told, kinds), False)
    if pc.any(other).as_py():
        line = pc.index(other, True).as_py()
        raise DataError(f"{path}:{line + 2}: image {table['patientId'][line]} has another class in an earlier row")
    return kinds.take(at)


SOURCE = Source(
    name="rsna",
    title="RSNA Pneumonia Detection Challenge 2018",
    homepage="https://www.kaggle.com/c/rsna-pneumonia-detection-challenge",
    folders=("rsna", "RSNA", "rsna-pneumonia-detection-challenge", "rsna-pneumonia"),
    inputs=(
        Input("labels", ("stage_2_train_labels.csv",), _OBTAIN),
        Input("classes", ("stage_2_detailed_class_info.csv",), _OBTAIN, required=False),
        Input(
            "mapping",
            (NAME,),
            "Get it from the RSNA's page of the challenge; it links the images to ChestX-ray14.",
            required=False,
        ),
    ),
    image_folders=(".",),
    tables={"images": IMAGES, "boxes": BOXES},
    read=read,
)
