"""Object-CXR (MIDL 2020): foreign objects on 8,000 + 1,000 chest radiographs; the test images have no labels.

Layout: the challenge's ``train.csv`` and ``dev.csv``. A cell lists objects, ``;`` between them: ``0 x1 y1 x2 y2`` is a
rectangle, ``1 x1 y1 x2 y2`` an ellipse by the box around it, ``2 x1 y1 x2 y2 ...`` a polygon, in pixels of the JPEG.
Sizes of images come from the headers of the JPEG files, and only of those with objects.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from instruct.errors import DataError
from instruct.sources.arrays import Ints, lists_of_rows, places, stems, with_area
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.csv_files import csv_columns, read_csv
from instruct.sources.files import origins
from instruct.sources.listing import files_in
from instruct.sources.pictures import picture_size

FOLDERS = {"train": "train", "val": "dev"}
SHAPES = ("rectangle", "ellipse", "polygon")
_OBTAIN = "Get it from a mirror of the Object-CXR challenge (train.zip, dev.zip and their tables)."

Pixels = NDArray[np.int32]

_text = pa.string()
IMAGES = Table(
    "One row per image, train before val, in the order of their tables. An image counts as a study.",
    pa.schema(
        [
            column("image", _text, "its file: train/<name>.jpg or dev/<name>.jpg", False),
            column("study", _text, "folder and name without its ending", False),
            column("split", _text, "train or val", False),
            column("height", pa.int32(), "rows of the JPEG; null where it has no objects or is not on disk"),
            column("width", pa.int32(), "columns of the JPEG; null likewise"),
            column("origin", _text, "file and line", False),
        ]
    ),
)

OBJECTS = Table(
    "One row per object, in the order of the cells.",
    pa.schema(
        [
            column("image", _text, "image", False),
            column("number", pa.int32(), "place among the objects of its image, from 1", False),
            column("shape", _text, "rectangle, ellipse or polygon", False),
            column("points", pa.list_(pa.int32()), "x, y, x, y, ... in pixels, as published", False),
            column("box", pa.list_(pa.float64()), "x1, y1, x2, y2 as shares of the image; null without size or area"),
            column("size", pa.list_(pa.int32()), "height and width of the image in pixels; null where not known"),
            column("origin", _text, "file and line", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the two tables, and the sizes of the images with objects, into ``images`` and ``objects``.

    Raises:
        DataError: an object is malformed, an image has no name or stands twice, or a file is no image.
    """
    parts = [_read_split(files, split) for split in FOLDERS]
    images, objects = (pa.concat_tables(tables).combine_chunks() for tables in zip(*parts, strict=True))
    return {"images": images, "objects": objects}


def _read_split(files: Files, split: str) -> tuple[pa.Table, pa.Table]:
    path = files[FOLDERS[split]][0]
    key = "image_path" if "image_path" in csv_columns(path) else "image_name"
    table = read_csv(path, {key: _text, "annotation": _text}).combine_chunks()
    written = table[key].combine_chunks()
    if written.null_count or pc.count_distinct(written).as_py() < len(written):
        codes = written.dictionary_encode(null_encoding="encode").indices.to_numpy()
        again = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1) == 0)
        blank = np.flatnonzero(np.asarray(written.is_null()))
        line = int(blank[0] if len(blank) else again[0])
        raise DataError(f"{path}:{line + 2}: {key} is blank, or an earlier row has the same")
    if pc.any(pc.match_substring(written, "/")).as_py():
        written = pc.replace_substring_regex(written, "^.*/", "")
    names = pc.binary_replace_slice(written, 0, 0, f"{FOLDERS[split]}/")
    lines = origins(files.relative(path), len(table), 2)

    rows, kinds, lengths, numbers = _objects(path, table["annotation"].combine_chunks())
    sizes = _sizes(files.root, FOLDERS[split], names, rows[np.flatnonzero(np.diff(rows, prepend=-1))])
    known = sizes[:, 0] > 0
    images = [
        names,
        stems(names),
        pa.repeat(pa.scalar(split, _text), len(names)),
        pa.array(sizes[:, 0], pa.int32(), mask=~known),
        pa.array(sizes[:, 1], pa.int32(), mask=~known),
        lines,
    ]
    start = np.cumsum(lengths) - lengths
    boxes = _boxes(numbers, start, sizes[rows])
    objects = [
        names.take(pa.array(rows)),
        pa.array(places(rows), pa.int32()),
        pa.array(SHAPES, _text).take(pa.array(kinds)),
        pa.ListArray.from_arrays(pa.array(np.append(start, len(numbers)), pa.int32()), pa.array(numbers, pa.int32())),
        lists_of_rows(boxes, known[rows] & with_area(boxes)),
        lists_of_rows(sizes[rows], known[rows]),
        lines.take(pa.array(rows)),
    ]
    return pa.table(images, schema=IMAGES.schema), pa.table(objects, schema=OBJECTS.schema)


def _objects(path: Path, cells: pa.StringArray) -> tuple[Ints, Pixels, Ints, Pixels]:
    """Objects of the cells: row, kind and count of numbers of each, and the numbers of all, kinds left out."""
    lists = pc.split_pattern(cells, ";")
    texts = pc.ascii_trim_whitespace(lists.flatten())
    filled = pc.not_equal(texts, "")
    rows = np.asarray(pc.list_parent_indices(lists).filter(filled), np.int64)
    words = pc.ascii_split_whitespace(texts.filter(filled))
    try:
        values = np.asarray(words.flatten().cast(pa.int32()))
    except pa.ArrowInvalid:
        for row, text in zip(rows, texts.filter(filled).to_pylist(), strict=True):
            if not all(re.fullmatch(r"-?\d{1,9}", word) for word in text.split()):
                raise DataError(
                    f"{path}:{row + 2}: an object must be whole numbers of pixels; found {text!r}"
                ) from None
        raise
    start = np.asarray(words.offsets, np.int64)[:-1]
    kinds, lengths = values[start], np.diff(np.append(start, len(values))) - 1
    polygon = kinds == SHAPES.index("polygon")
    wrong = ~np.isin(kinds, range(len(SHAPES))) | np.where(polygon, (lengths % 2 == 1) | (lengths < 4), lengths != 4)
    if wrong.any():
        raise DataError(
            f"{path}:{rows[np.flatnonzero(wrong)[0]] + 2}: an object must be 0 or 1 with four numbers, or 2 with pairs"
        )
    return rows, kinds, lengths, np.delete(values, start)


def _boxes(numbers: Pixels, start: Ints, sizes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Extent of each object as shares of its image, clipped to it."""
    if not len(start):
        return np.zeros((0, 4))
    halves = start // 2
    x, y = numbers[::2], numbers[1::2]
    corners = [
        np.minimum.reduceat(x, halves),
        np.minimum.reduceat(y, halves),
        np.maximum.reduceat(x, halves),
        np.maximum.reduceat(y, halves),
    ]
    shares: NDArray[np.float64] = np.stack(corners, axis=1) / np.maximum(sizes[:, [1, 0, 1, 0]], 1)
    return shares.clip(0, 1)


def _sizes(root: Path, folder: str, names: pa.StringArray, wanted: Ints) -> NDArray[np.int32]:
    """Height and width of some images, 0 for those not on disk and for the others; shape (images, 2)."""
    sizes = np.zeros((len(names), 2), np.int32)
    there = files_in(root, (folder,))
    wanted = wanted if there else wanted[:0]
    for index, name in zip(wanted.tolist(), names.take(pa.array(wanted)).to_pylist(), strict=True):
        if name in there:
            sizes[index] = picture_size(root / name)
    return sizes


SOURCE = Source(
    name="object_cxr",
    title="Object-CXR",
    homepage="https://jfhealthcare.github.io/object-CXR/",
    folders=("object_cxr", "object-cxr", "Object-CXR", "object-CXR"),
    inputs=tuple(Input(name, (f"{name}.csv",), _OBTAIN) for name in FOLDERS.values()),
    image_folders=(".",),
    tables={"images": IMAGES, "objects": OBJECTS},
    marks=(b"annotation",),
    read=read,
)
