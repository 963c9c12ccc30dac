"""Where the images of a VinDr release are, and how large: as DICOM files, or converted to PNG or JPEG.

Boxes are in pixels of the DICOM files. A converted image can be smaller than that, so its own size is believed only if
no box reaches beyond it; a table of sizes (``train_meta.csv``, ``test_meta.csv``) tells the sizes of the DICOM files.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from instruct.errors import DataError
from instruct.regions import Floats, Ints
from instruct.sources.arrays import stems
from instruct.sources.base import Files
from instruct.sources.csv_files import csv_columns, read_csv
from instruct.sources.dicom import image_size
from instruct.sources.listing import files_in
from instruct.sources.pictures import picture_size

SIZES_TABLES = {"train": "train_meta.csv", "test": "test_meta.csv"}
_DICOM = (".dicom", ".dcm")
_ENDINGS = (*_DICOM, ".png", ".jpg", ".jpeg")
_SIDES = (("height", "width"), ("dim0", "dim1"))
# By how much of its side, and pixels more, a box may reach beyond its image.
_BEYOND = 0.01

_text = pa.string()


@dataclass(frozen=True)
class Places:
    """Where images are.

    Attributes:
        names: path of each image; that of its DICOM file where it is not on disk.
        there: whether it is on disk.
    """

    names: pa.StringArray
    there: NDArray[np.bool_]


def places(root: Path, splits: pa.StringArray, images: pa.StringArray) -> Places:
    """Find images: ``train/<image_id>.dicom``, or converted ones in ``train/`` or a folder such as ``train_png/``.

    Args:
        root: the source's root.
        splits: split of each image.
        images: its identifier.
    """
    published = pc.binary_join_element_wise(pc.binary_join_element_wise(splits, images, "/"), "dicom", ".")
    folders = {
        split: [split, *sorted(path.name for path in root.glob(f"{split}_*") if path.is_dir())]
        for split in pc.unique(splits).to_pylist()
    }
    found = [
        (place, _ENDINGS.index(ending), f"{split}/{Path(path).stem}", path)
        for split, names in folders.items()
        for place, name in enumerate(names)
        for path in files_in(root, [name])
        if (ending := Path(path).suffix.lower()) in _ENDINGS
    ]
    if not found:
        return Places(published, np.zeros(len(images), bool))
    found.sort()
    keys, paths = (pa.array([entry[at] for entry in found], _text) for at in (2, 3))
    own = paths.take(pc.index_in(stems(published), keys))
    return Places(pc.coalesce(own, published), np.asarray(own.is_valid()))


@dataclass(frozen=True)
class Sizes:
    """Height and width of images, 0 where not known; shape (images, 2).

    Attributes:
        drawn: of the image that boxes were drawn on, the DICOM file.
        shown: of the file on disk, or of the DICOM file where there is none.
        told: whether a DICOM header tells ``drawn``.
    """

    drawn: NDArray[np.int32]
    shown: NDArray[np.int32]
    told: NDArray[np.bool_]


def image_sizes(files: Files, found: Places, splits: pa.StringArray, images: pa.StringArray, wanted: Ints) -> Sizes:
    """Sizes of some images.

    Args:
        files: the source's files, for the tables of sizes.
        found: where images are.
        splits: split of each image.
        images: its identifier.
        wanted: which of them.

    Raises:
        DataError: a file is no image, or a table of sizes is malformed.
    """
    given = _from_tables(files, splits, images)
    sizes = Sizes(np.zeros_like(given), np.zeros_like(given), np.zeros(len(given), bool))
    sizes.drawn[wanted] = sizes.shown[wanted] = given[wanted]
    there = wanted[found.there[wanted]]
    for index, name in zip(there.tolist(), found.names.take(pa.array(there)).to_pylist(), strict=True):
        path = files.root / name
        if path.suffix.lower() in _DICOM:
            sizes.drawn[index] = sizes.shown[index] = image_size(path) or (0, 0)
            sizes.told[index] = True
        else:
            sizes.shown[index] = picture_size(path)
            if not sizes.drawn[index].any():
                sizes.drawn[index] = sizes.shown[index]
    return sizes


def refuse_small(sizes: Sizes, rows: Ints, corners: Floats, origins: pa.ChunkedArray, names: pa.StringArray) -> None:
    """Refuse sizes that are not of the images that boxes were drawn on.

    Args:
        sizes: sizes of images.
        rows: image of each box.
        corners: x1, y1, x2, y2 of each box in pixels; shape (boxes, 4).
        origins: where each box comes from.
        names: path of each image.

    Raises:
        DataError: a box reaches far beyond an image that is no DICOM file.
    """
    most = sizes.drawn[rows][:, ::-1]
    known = (most[:, 0] > 0) & ~sizes.told[rows]
    beyond = np.flatnonzero(known & (corners[:, 2:] > most * (1 + _BEYOND) + 1).any(axis=1))
    if len(beyond):
        box = int(beyond[0])
        width, height = most[box].tolist()
        x, y = corners[box, 2:].tolist()
        raise DataError(
            f"{origins[box]}: a box reaches to {x:g}, {y:g}, beyond {names[int(rows[box])]}, which is taken to have"
            f" {width} x {height} pixels (width x height). Boxes are in pixels of the DICOM file; put the sizes of the"
            f" DICOM files into {' and '.join(SIZES_TABLES.values())} (image_id, height, width)"
        )


def _from_tables(files: Files, splits: pa.StringArray, images: pa.StringArray) -> NDArray[np.int32]:
    sizes = np.zeros((len(images), 2), np.int32)
    for split in SIZES_TABLES:
        if not files[f"sizes_{split}"]:
            continue
        path = files[f"sizes_{split}"][0]
        columns = csv_columns(path)
        sides = next((names for names in _SIDES if set(names) <= set(columns)), _SIDES[0])
        table = read_csv(path, {"image_id": _text, **dict.fromkeys(sides, pa.int32())})
        values = np.stack([np.asarray(pc.fill_null(table[name], 0)) for name in sides], axis=1)
        if (values <= 0).any():
            line = int(np.flatnonzero((values <= 0).any(axis=1))[0]) + 2
            raise DataError(f"{path}:{line}: {' and '.join(sides)} must be whole numbers above 0")
        at = pc.index_in(images, table["image_id"].combine_chunks())
        known = np.asarray(pc.and_(at.is_valid(), pc.equal(splits, split)))
        sizes[known] = values[np.asarray(at.filter(pa.array(known)))]
    return sizes
