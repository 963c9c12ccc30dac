"""ChestX-ray14 of the NIH Clinical Center: 112,120 frontal images of 30,805 patients, 14 text-mined findings.

Layout: Wang et al., "ChestX-ray8", CVPR 2017, and the release's README. The release has a test list but no validation
list; a tenth of the images, whole patients, is taken from its train_val list.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.chestxray14_split import OBTAIN, refuse, split_images
from instruct.sources.csv_files import read_csv
from instruct.sources.files import origins

FINDINGS = (
    "Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Effusion", "Emphysema", "Fibrosis", "Hernia",
    "Infiltration", "Mass", "Nodule", "Pleural_Thickening", "Pneumonia", "Pneumothorax",
)  # fmt: skip
_NONE = "No Finding"
_SIDE = 1024
_OLDEST = 120

# Two headers hold bare commas, so that a parser sees two columns each. The 2017 file ends every line with a comma.
_NAMES = (
    "Image Index", "Finding Labels", "Follow-up #", "Patient ID", "Patient Age", "Patient Gender", "View Position",
    "OriginalImageWidth", "OriginalImageHeight", "OriginalImagePixelSpacingX", "OriginalImagePixelSpacingY",
)  # fmt: skip
_BOX_NAMES = ("Image Index", "Finding Label", "x", "y", "w", "h")
_IMAGE_FOLDERS = ("images", ".")


class ChestXray14Options(Options):
    """Options of the ChestX-ray14 reader."""

    split: Literal["official", "file"] | None = Field(
        default=None,
        description="official: test_list.txt is test, a tenth of all images (whole patients of train_val_list.txt, by "
        "hash) is val. file: the split of split_by_image.csv, any table with the columns image and split. Default: "
        "official where its lists are there, else the file.",
    )


_text = pa.string()
IMAGES = Table(
    "One row per image, in the order of the table of entries. An image counts as a study.",
    pa.schema(
        [
            column("image", _text, "file name: patient, underscore, running number", False),
            column(
                "file",
                _text,
                "the image below the image folder: the file name, or images_001/images/ and so on",
                False,
            ),
            column("patient", _text, "first eight digits of the file name", False),
            column("study", _text, "file name without its ending", False),
            column("split", _text, "train, val or test (option split)", False),
            column("labels", pa.list_(_text), "findings as published (Pleural_Thickening), none if empty", False),
            column("view", _text, "PA or AP", False),
            column("follow_up", pa.int32(), "Follow-up #: the order of a patient's images in time", False),
            column("height", pa.int32(), "rows of the published image: 1024", False),
            column("width", pa.int32(), "columns of the published image: 1024", False),
            column("age", pa.int32(), "years; null where impossible (above 120)"),
            column("sex", _text, "M or F"),
            column("origin", _text, "file and line", False),
        ]
    ),
)

BOXES = Table(
    "One row per box of the box file, in its order.",
    pa.schema(
        [
            column("image", _text, "file name", False),
            column("label", _text, "finding, spelt as in the images' labels (the file has Infiltrate)", False),
            column("box", pa.list_(pa.float64()), "x1, y1, x2, y2 as shares of width and height, 0-1", False),
            column("origin", _text, "file and line", False),
        ]
    ),
)


def read(files: Files, options: ChestXray14Options) -> dict[str, pa.Table]:
    """Read the table of entries, the split and the boxes into ``images`` and ``boxes``.

    Raises:
        DataError: a file is malformed, a finding is unknown, an image is in no split or in two, or there is no split.
    """
    path = files["entries"][0]
    table = _entries(path).combine_chunks()
    names, ages = table["Image Index"].combine_chunks(), table["Patient Age"].combine_chunks()
    stems = pc.utf8_slice_codeunits(names, 0, 12)
    digits = pc.and_(pc.ascii_is_decimal(pc.utf8_replace_slice(stems, 8, 9, "")), pc.equal(pc.utf8_length(stems), 12))
    well_named = pc.and_(digits, pc.ends_with(names, ".png"))
    refuse(path, names, pc.invert(pc.fill_null(well_named, False)), "is no file name such as 00000001_000.png")
    patients = pc.utf8_slice_codeunits(names, 0, 8)
    other = pc.not_equal(patients.cast(pa.int32()), table["Patient ID"].combine_chunks())
    refuse(path, names, pc.fill_null(other, True), "has another patient in its name than in Patient ID")
    years = _years(ages)
    side = pa.repeat(pa.scalar(_SIDE, pa.int32()), len(names))
    arrays = [
        names,
        _places(files.root, names),
        patients,
        stems,
        split_images(files, path, names, stems, table["Patient ID"], options.split),
        _labels(path, names, table["Finding Labels"].combine_chunks()),
        table["View Position"],
        table["Follow-up #"],
        side,
        side,
        pc.if_else(pc.greater(years, _OLDEST), None, years),
        table["Patient Gender"],
        origins(files.relative(path), len(names), 2),
    ]
    return {"images": pa.table(arrays, schema=IMAGES.schema), "boxes": _boxes(files)}


def _entries(path: Path) -> pa.Table:
    cells = _cells(path)
    if cells not in (len(_NAMES), len(_NAMES) + 1):
        raise DataError(f"{path}:2: expected {len(_NAMES)} cells, found {cells}; is this a Data_Entry_2017 file?")
    wanted = {name: pa.int32() if name in ("Follow-up #", "Patient ID") else _text for name in _NAMES[:7]}
    return read_csv(path, wanted, names=[*_NAMES, *[""] * (cells - len(_NAMES))])


def _cells(path: Path) -> int:
    """Number of cells of a table's first row, below its header, which cannot be trusted."""
    with path.open(encoding="utf-8", errors="replace") as file:
        file.readline()
        return file.readline().count(",") + 1


def _labels(path: Path, names: pa.Array, written: pa.Array) -> pa.ListArray:
    lists = pc.split_pattern(pc.fill_null(written, ""), "|")
    flat, rows = lists.flatten(), np.asarray(pc.list_parent_indices(lists))
    known = np.asarray(pc.is_in(flat, pa.array([*FINDINGS, _NONE])))
    if not known.all():
        at = int(np.flatnonzero(~known)[0])
        raise DataError(
            f"{path}:{rows[at] + 2}: image {names[int(rows[at])].as_py()} has the finding {flat[at].as_py()!r};"
            f" expected {_NONE} or some of {', '.join(FINDINGS)}, joined by |"
        )
    positive = np.asarray(pc.not_equal(flat, _NONE))
    lengths = np.bincount(rows[positive], minlength=len(names))
    mixed = np.bincount(rows[~positive], minlength=len(names)) * lengths > 0
    refuse(path, names, pa.array(mixed), f"has {_NONE} and a finding at once")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), flat.filter(pa.array(positive)))


def _years(ages: pa.Array) -> pa.Array:
    try:
        return ages.cast(pa.int32())
    except pa.ArrowInvalid:
        # The first edition wrote 058Y, and 011M or 013D for infants.
        years = pc.replace_substring_regex(pc.utf8_rtrim(ages, "Y"), r"^\d+[MWD]$", "0")
        return pc.if_else(pc.ascii_is_decimal(years), years, None).cast(pa.int32())


def _places(root: Path, names: pa.Array) -> pa.Array:
    """Where the images are below the image folder: the twelve archives may be unpacked into a folder each."""
    folders = sorted([*root.glob("images_*/images"), *root.glob("images_*")])
    if not folders or any((root / folder).is_dir() for folder in _IMAGE_FOLDERS[:-1]):
        return names
    places = {
        entry.name: f"{folder.relative_to(root).as_posix()}/{entry.name}"
        for folder in folders
        for entry in os.scandir(folder)
    }
    return pa.array([places.get(name, name) for name in names.to_pylist()], _text)


def _boxes(files: Files) -> pa.Table:
    if not files["boxes"]:
        return BOXES.schema.empty_table()
    path = files["boxes"][0]
    spare = [f"spare {number}" for number in range(_cells(path) - len(_BOX_NAMES))]
    numbers = dict.fromkeys(_BOX_NAMES[2:], pa.float64())
    table = read_csv(path, {**dict.fromkeys(_BOX_NAMES[:2], _text), **numbers}, names=[*_BOX_NAMES, *spare])
    x, y, w, h = (np.asarray(table[name]) / _SIDE for name in numbers)
    corners = np.stack([x, y, x + w, y + h], axis=1).clip(0, 1)
    bad = ~(np.isfinite(corners).all(axis=1) & (corners[:, 0] < corners[:, 2]) & (corners[:, 1] < corners[:, 3]))
    images = table["Image Index"].combine_chunks()
    refuse(path, images, pa.array(bad), "has a box without area, or outside of the image")
    offsets = pa.array(np.arange(len(table) + 1, dtype=np.int32) * 4)
    labels = table["Finding Label"].combine_chunks()
    arrays = [
        images,
        pc.if_else(pc.equal(labels, "Infiltrate"), "Infiltration", labels),
        pa.ListArray.from_arrays(offsets, pa.array(corners.ravel())),
        origins(files.relative(path), len(table), 2),
    ]
    return pa.table(arrays, schema=BOXES.schema)


SOURCE = Source(
    name="chestxray14",
    title="ChestX-ray14 (NIH Clinical Center)",
    homepage="https://nihcc.app.box.com/v/ChestXray-NIHCC",
    folders=("chestxray14", "ChestX-ray14", "ChestXray14", "ChestX-ray8", "CXR8", "NIH", "nih-chest-xrays"),
    inputs=(
        Input("entries", ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv", "Data_Entry_2017*.csv"), OBTAIN),
        Input("train_val", ("train_val_list.txt", "train_val_list*.txt"), OBTAIN, required=False),
        Input("test", ("test_list.txt", "test_list*.txt"), OBTAIN, required=False),
        Input("boxes", ("BBox_List_2017.csv", "BBox_List_2017*.csv"), OBTAIN, required=False),
        Input("split", ("split_by_image.csv",), "A split of one's own: image, split.", required=False),
    ),
    image_folders=_IMAGE_FOLDERS,
    tables={"images": IMAGES, "boxes": BOXES},
    read=read,
    options=ChestXray14Options,
)
