"""Which split each image of ChestX-ray14 is in: by the NIH's lists, or by a table of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files
from instruct.sources.csv_files import read_csv

OBTAIN = "Download it from the NIH Clinical Center's ChestX-ray14 page (open) or a mirror of it."

Ints = npt.NDArray[np.int64]
_SPLITS = {"train": 0, "valid": 1, "val": 1, "test": 2}
_text = pa.string()


def split_images(
    files: Files, path: Path, names: pa.Array, stems: pa.Array, patients: pa.Array, choice: str | None
) -> pa.Array:
    """Split of each image: train, val or test.

    Args:
        files: the source's files.
        path: the table of entries, for messages.
        names: file names of its images.
        stems: the same without their endings.
        patients: number of each image's patient.
        choice: ``official``, ``file``, or None for the first of them that is there.

    Raises:
        DataError: there is no such split, or an image is in none, in two, or twice in the table.
    """
    lists, own = (files["train_val"], files["test"]), files["split"]
    if choice != "file" and all(lists):
        codes = _official(lists[0][0], lists[1][0], path, names, np.asarray(patients))
    elif choice != "official" and own:
        codes = _from_file(own[0], path, names, stems)
    else:
        wanted = "split_by_image.csv" if choice == "file" else "train_val_list.txt and test_list.txt"
        raise DataError(f"{files.root}: no split: expected {wanted}. {OBTAIN}")
    return pa.array(["train", "val", "test"]).take(pa.array(codes))


def _official(train_val: Path, test: Path, path: Path, names: pa.Array, patients: Ints) -> Ints:
    lists = [read_csv(file, {"image": _text}, header=False)["image"] for file in (train_val, test)]
    every = pa.chunked_array([chunk for images in lists for chunk in images.chunks], _text).combine_chunks()
    places = np.asarray(pc.fill_null(pc.index_in(names, value_set=every), -1))
    listed = np.stack([(places >= 0) & (places < len(lists[0])), places >= len(lists[0])])
    if len(every) > len(names) or np.bincount(places + 1, minlength=1)[1:].max(initial=0) > 1 or (places < 0).any():
        # Not each name once: which lists hold which names takes longer.
        for row, images in zip(listed, lists, strict=True):
            row[:] = np.asarray(pc.is_in(names, value_set=images))
    refuse(path, names, pa.array(listed.all(axis=0)), f"stands both in {train_val.name} and in {test.name}")
    _refuse_unlisted(path, names, ~listed.any(axis=0), f"{train_val.name} or {test.name}")
    codes = np.where(listed[1], 2, 0)
    codes[listed[0] & np.isin(patients, _val_patients(patients[listed[0]], len(names)))] = 1
    return codes


def _refuse_unlisted(path: Path, names: pa.Array, unlisted: Any, where: str) -> None:
    if unlisted.any():
        first = np.asarray(pc.index_in(names, value_set=names))
        refuse(path, names, pa.array(first != np.arange(len(names))), "stands twice")
        refuse(path, names, pa.array(unlisted), f"is not in {where}")


def _val_patients(patients: Ints, images: int) -> Ints:
    """Of some patients, given once per image, those of the smallest hashes, until they hold a tenth of all images.

    The hash of a patient's number is the SplitMix64 finaliser (Steele, Lea and Flood, OOPSLA 2014).
    """
    numbers, counts = np.unique(patients, return_counts=True)
    z = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    order = np.argsort(z ^ (z >> np.uint64(31)))
    before = np.cumsum(counts[order]) - counts[order]
    return numbers[order[before * 10 < images]]


def _from_file(file: Path, path: Path, names: pa.Array, stems: pa.Array) -> Ints:
    table = read_csv(file, {"image": _text, "split": _text}).combine_chunks()
    words = table["split"].combine_chunks()
    given = pc.index_in(words, value_set=pa.array(list(_SPLITS)))
    if given.null_count:
        row = pc.index(pc.is_null(given), True).as_py()
        raise DataError(f"{file}:{row + 2}: split {words[row].as_py()!r}; expected {', '.join(_SPLITS)}")
    # Resized copies are named .jpg.
    places = pc.index_in(pc.replace_substring_regex(table["image"], r"\.\w+$", ""), value_set=stems).combine_chunks()
    known = np.asarray(pc.is_valid(places))
    codes = np.full(len(names), -1)
    codes[np.asarray(places.drop_null())] = np.array(list(_SPLITS.values()))[np.asarray(given)[known]]
    _refuse_unlisted(path, names, codes < 0, file.name)
    return codes


def refuse(path: Path, names: pa.Array, faulty: pa.Array, fault: str) -> None:
    """Raise for the first faulty row of a table with a header, if there is one."""
    if pc.any(faulty).as_py():
        row = pc.index(faulty, True).as_py()
        raise DataError(f"{path}:{row + 2}: image {names[row].as_py()} {fault}")
