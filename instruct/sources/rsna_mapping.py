"""The RSNA's list of the ChestX-ray14 images behind the images of its pneumonia challenge of 2018."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.files import read_json

NAME = "pneumonia-challenge-dataset-mappings_2018.json"

_text = pa.string()


def nih_images(path: Path, names: pa.StringArray) -> pa.StringArray:
    """The ChestX-ray14 image behind each image of the challenge, null where the list has none.

    Args:
        path: the list.
        names: identifiers of images (the challenge's ``patientId``).

    Raises:
        DataError: the list is malformed.
    """
    entries = read_json(path)
    try:
        ours = pa.array([entry["subset_img_id"] for entry in entries], _text)
        theirs = pa.array([entry["img_id"] for entry in entries], _text)
    except (KeyError, TypeError, pa.ArrowInvalid):
        raise DataError(f"{path}: expected a list of objects with the texts subset_img_id and img_id") from None
    odd = pc.invert(pc.match_substring_regex(theirs, r"^\d{8}_\d{3}\.png$"))
    if pc.any(odd).as_py():
        raise DataError(f"{path}: img_id {theirs.filter(odd)[0]} is no ChestX-ray14 file name such as 00000001_000.png")
    return theirs.take(pc.index_in(names, ours))


def nih_keys(images: pa.StringArray) -> tuple[pa.StringArray, pa.StringArray]:
    """Study and patient that images have in ChestX-ray14."""
    return pc.utf8_slice_codeunits(images, 0, 12), pc.utf8_slice_codeunits(images, 0, 8)
