"""What VinDr-CXR and VinDr-PCXR have in common: boxes drawn by radiologists on DICOM images, one table per split.

Sizes come from the headers of the image files, and only of those with boxes. Where neither a file nor a table of sizes
tells one, boxes are known in pixels alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.regions import Ints
from instruct.sources.arrays import first_rows, lists_of_rows, with_area
from instruct.sources.base import Files, Input, Table, column
from instruct.sources.csv_files import csv_columns, read_csv
from instruct.sources.files import origins
from instruct.sources.vindr_boxes import OVERLAP, Merged, merge_boxes
from instruct.sources.vindr_images import SIZES_TABLES, Sizes, image_sizes, places, refuse_small

NO_FINDING = "No finding"
_SIDES = ("x_min", "y_min", "x_max", "y_max")
_text = pa.string()
_list = pa.list_(pa.float64())

IMAGES = Table(
    "One row per image, in the order of the annotations. An image counts as a study; patients are not published.",
    pa.schema(
        [
            column("image_id", _text, "identifier of the image", False),
            column("image", _text, "its file: train/<image_id>.dicom, or what it was converted to", False),
            column("split", _text, "train or test, as published", False),
            column(
                "height",
                pa.int32(),
                "rows of that file (or as a table of sizes tells); null without boxes",
            ),
            column("width", pa.int32(), "columns of that file; null likewise"),
            column("origin", _text, "file and line of its first annotation", False),
        ]
    ),
)

ANNOTATIONS = Table(
    "One row per row of the annotation tables: a radiologist's box, or that there is nothing to find.",
    pa.schema(
        [
            column("image_id", _text, "identifier of the image", False),
            column("split", _text, "train or test", False),
            column("reader", _text, "radiologist; null in tables of a consensus"),
            column("label", _text, "class, spelt as in the list of classes; null for No finding"),
            column("box", _list, "x1, y1, x2, y2 in pixels of the DICOM image; null for No finding"),
            column("origin", _text, "file and line", False),
        ]
    ),
)

BOXES = Table(
    "Boxes of all radiologists, those of one class that overlap merged: the first box takes in every later one of its"
    f" class whose intersection over union with it is above {OVERLAP}, and becomes the rectangle around them; then the"
    " first of those left, and so on.",
    pa.schema(
        [
            column("image_id", _text, "identifier of the image", False),
            column("split", _text, "train or test", False),
            column("label", _text, "class", False),
            column("number", pa.int32(), "place among the merged boxes of its image and class, from 1", False),
            column("boxes", pa.int32(), "boxes merged into it", False),
            column("pixels", _list, "x1, y1, x2, y2 in pixels of the DICOM image, as drawn", False),
            column("box", _list, "x1, y1, x2, y2 as shares, clipped to the image; null without size or area"),
            column("size", pa.list_(pa.int32()), "height and width of the image in pixels; null where not known"),
            column("origin", _text, "file and line of the first box", False),
        ]
    ),
)

LABELS = Table(
    "One row per row of the image-level label tables; empty where they are not on disk.",
    pa.schema(
        [
            column("image_id", _text, "identifier of the image", False),
            column("split", _text, "train or test", False),
            column("reader", _text, "radiologist; null in tables of a consensus"),
            column("labels", pa.list_(_text), "labels that are 1, in the order of the table's columns", False),
            column("origin", _text, "file and line", False),
        ]
    ),
)

TABLES = {"images": IMAGES, "annotations": ANNOTATIONS, "boxes": BOXES, "image_labels": LABELS}
SIZES_INPUTS = tuple(
    Input(
        f"sizes_{split}",
        (name, f"annotations/{name}"),
        "For images converted to a smaller size: image_id, height and width (or dim0 and dim1) of the DICOM files.",
        required=False,
    )
    for split, name in SIZES_TABLES.items()
)


def read_vindr(
    files: Files, annotations: Mapping[str, str], labels: Mapping[str, str], reader: str, classes: Sequence[str]
) -> dict[str, pa.Table]:
    """Read a release.

    Args:
        files: the files of the source.
        annotations: split to the input with its boxes; one that was not found is passed over.
        labels: split to the input with its image-level labels; likewise.
        reader: column that names the radiologist.
        classes: classes of boxes as the owners list them. Tables differ in the case of letters; a class that is not
            listed is spelt as where it stands first.

    Raises:
        DataError: a table or a DICOM header is malformed, a box is incomplete or turned round, or an image is in two
            splits.
    """
    spelt = {one.casefold(): one for one in classes}
    parts = [_annotations(files, split, name, reader, spelt) for split, name in annotations.items() if files[name]]
    drawn = pa.concat_tables(parts).combine_chunks()
    codes = np.asarray(drawn["image_id"].combine_chunks().dictionary_encode().indices)
    first = first_rows(codes)
    _refuse_two_splits(drawn, parts, codes, first)
    images = drawn.select(["image_id", "split", "origin"]).take(pa.array(first))
    splits, image_ids = images["split"].combine_chunks(), images["image_id"].combine_chunks()
    found = places(files.root, splits, image_ids)

    has_box = np.asarray(drawn["box"].is_valid())
    rows = np.flatnonzero(has_box)
    corners = np.asarray(drawn["box"].combine_chunks().flatten()).reshape(-1, 4)
    label = drawn["label"].combine_chunks().dictionary_encode()
    group = codes[rows].astype(np.int64) * len(label.dictionary) + np.asarray(label.indices.take(pa.array(rows)))
    merged = merge_boxes(corners, group)
    leaders = rows[merged.first]
    sizes = image_sizes(files, found, splits, image_ids, np.unique(codes[leaders]))
    boxed = drawn.drop_columns(["box"]).take(pa.array(leaders))
    refuse_small(sizes, codes[leaders], merged.corners, boxed["origin"], found.names)
    told = [_labels(files, split, name, reader) for split, name in labels.items() if files[name]]
    known = sizes.shown[:, 0] > 0
    columns = {
        "image_id": images["image_id"],
        "image": found.names,
        "split": images["split"],
        "height": pa.array(sizes.shown[:, 0], pa.int32(), mask=~known),
        "width": pa.array(sizes.shown[:, 1], pa.int32(), mask=~known),
        "origin": images["origin"],
    }
    return {
        "images": pa.table(columns, schema=IMAGES.schema),
        "annotations": drawn,
        "boxes": _boxes(boxed, merged, sizes, codes[leaders]),
        "image_labels": pa.concat_tables([LABELS.schema.empty_table(), *told]).combine_chunks(),
    }


def _annotations(files: Files, split: str, name: str, reader: str, spelt: dict[str, str]) -> pa.Table:
    path = files[name][0]
    wanted = {"image_id": _text, "class_name": _text, **dict.fromkeys(_SIDES, pa.float64())}
    table = read_csv(path, wanted, optional={reader: _text}).combine_chunks()
    label = table["class_name"].combine_chunks().dictionary_encode()
    names = [spelt.setdefault(one.casefold(), one) for one in label.dictionary.to_pylist()]
    found = [None if one.casefold() == NO_FINDING.casefold() else one for one in names]
    labels = pa.array(found, _text).take(label.indices)
    sides = np.stack([table[side].to_numpy() for side in _SIDES], axis=1)
    given = np.isfinite(sides)
    finding = np.asarray(labels.is_valid())
    for wrong, why in (
        (np.asarray(pc.or_(table["image_id"].is_null(), table["class_name"].is_null())), "no image_id or class_name"),
        (finding & ~given.all(axis=1), "a finding without a whole box"),
        (~finding & given.any(axis=1), f"a box for {NO_FINDING!r}"),
        (finding & (sides[:, :2] > sides[:, 2:]).any(axis=1), "a box whose maximum is below its minimum"),
    ):
        if wrong.any():
            raise DataError(
                f"{path}:{int(np.flatnonzero(wrong)[0]) + 2}: {why}; expected a class with {', '.join(_SIDES)}, or"
                f" {NO_FINDING!r} with blanks"
            )
    columns = [
        table["image_id"],
        pa.repeat(pa.scalar(split, _text), len(table)),
        table[reader],
        labels,
        lists_of_rows(sides, finding),
        origins(files.relative(path), len(table), 2),
    ]
    return pa.table(columns, schema=ANNOTATIONS.schema)


def _refuse_two_splits(drawn: pa.Table, parts: Sequence[pa.Table], codes: Ints, first: Ints) -> None:
    splits = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    other = splits != splits[first][codes]
    if other.any():
        row = drawn.slice(int(np.flatnonzero(other)[0]), 1)
        raise DataError(
            f"{row['origin'][0]}: image {row['image_id'][0]} is in the other split too; expected one split per image"
        )


def _boxes(leaders: pa.Table, merged: Merged, sizes: Sizes, images: Ints) -> pa.Table:
    known = sizes.drawn[images, 0] > 0
    boxes = (merged.corners / np.maximum(sizes.drawn[images][:, [1, 0, 1, 0]], 1)).clip(0, 1)
    columns = [
        leaders["image_id"],
        leaders["split"],
        leaders["label"],
        pa.array(merged.number, pa.int32()),
        pa.array(merged.boxes, pa.int32()),
        lists_of_rows(merged.corners),
        lists_of_rows(boxes, known & with_area(boxes)),
        lists_of_rows(sizes.shown[images], known),
        leaders["origin"],
    ]
    return pa.table(columns, schema=BOXES.schema)


def _labels(files: Files, split: str, name: str, reader: str) -> pa.Table:
    path = files[name][0]
    names = [column for column in csv_columns(path) if column not in ("image_id", reader)]
    marks = read_csv(path, {"image_id": _text, **dict.fromkeys(names, pa.float64())}, optional={reader: _text})
    marked = np.stack([marks[column].to_numpy() for column in names], axis=1)
    positive = marked == 1
    wrong = (~positive & (marked != 0)).any(axis=1)
    if wrong.any():
        raise DataError(f"{path}:{int(np.flatnonzero(wrong)[0]) + 2}: labels must be 0 or 1")
    offsets = np.concatenate([[0], np.cumsum(positive.sum(axis=1))]).astype(np.int32)
    labels = pa.array(names, _text).take(pa.array(np.nonzero(positive)[1]))
    columns = [
        marks["image_id"],
        pa.repeat(pa.scalar(split, _text), len(marks)),
        marks[reader],
        pa.ListArray.from_arrays(pa.array(offsets), labels),
        origins(files.relative(path), len(marks), 2),
    ]
    return pa.table(columns, schema=LABELS.schema)
