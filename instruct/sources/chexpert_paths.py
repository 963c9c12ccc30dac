"""Paths of CheXpert images taken apart: ``train/patient00001/study1/view1_frontal.jpg``, below any prefix."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError

SPLITS = ("train", "val", "test")
FOLDERS = ("train", "valid", "test")
EXPECTED = "train/patient00001/study1/view1_frontal.jpg"

Ints = npt.NDArray[np.int64]

_FILE = re.compile(r"view(\d+)_(frontal|lateral)\.(?:jpg|jpeg|png)")
_STUDY = re.compile(r"study(\d+)")


@dataclass(frozen=True)
class Paths:
    """Parts of some paths, one value per path.

    Attributes:
        split: index into :data:`SPLITS` and :data:`FOLDERS`.
        patient: name of the patient's folder.
        person: number in that name.
        number: number of the study.
        view: number of the view.
        lateral: whether the file name says lateral.
    """

    split: Ints
    patient: pa.StringArray
    person: Ints
    number: Ints
    view: Ints
    lateral: npt.NDArray[np.bool_]

    @property
    def study_key(self) -> Ints:
        """A number for each study; its order is that of split, patient and study number."""
        key: Ints = (self.split * 10**9 + self.person) * 10**4 + self.number
        return key

    @property
    def image_key(self) -> Ints:
        """A number for each image."""
        return self.study_key * 1000 + self.view * 2 + self.lateral

    def take(self, rows: Ints) -> Paths:
        """Some of the paths."""
        return Paths(
            self.split[rows],
            self.patient.take(pa.array(rows)),
            self.person[rows],
            self.number[rows],
            self.view[rows],
            self.lateral[rows],
        )

    def studies(self) -> pa.StringArray:
        """``patient00001/study1``."""
        names, codes = _names(self.number, lambda number: f"study{number}")
        return pc.binary_join_element_wise(self.patient, names.take(codes), "/")

    def images(self, ending: str = ".jpg") -> pa.StringArray:
        """``train/patient00001/study1/view1_frontal.jpg``, with another ending if wanted."""
        folders = pa.array(FOLDERS).take(pa.array(self.split))
        files, codes = _names(
            self.view * 2 + self.lateral,
            lambda code: f"view{code // 2}_{'lateral' if code % 2 else 'frontal'}{ending}",
        )
        return pc.binary_join_element_wise(folders, self.studies(), files.take(codes), "/")


def together(parts: list[Paths]) -> Paths:
    """Several lots of paths as one."""
    return Paths(
        np.concatenate([part.split for part in parts]),
        pa.concat_arrays([part.patient for part in parts]),
        np.concatenate([part.person for part in parts]),
        np.concatenate([part.number for part in parts]),
        np.concatenate([part.view for part in parts]),
        np.concatenate([part.lateral for part in parts]),
    )


def parse_paths(file: Path, written: pa.Array | pa.ChunkedArray, column: str) -> Paths:
    """Take a column of image paths apart.

    Args:
        file: the table, for messages.
        written: its paths.
        column: the column's name, for messages.

    Raises:
        DataError: a path is not of the expected form; the message names its line.
    """
    levels = _Levels(file, written, column)
    folders = levels.each(-4, lambda text: FOLDERS.index(text) if text in FOLDERS else None)
    views = levels.each(-1, lambda text: _view(text))
    patient, person = levels.patients(-3)
    return Paths(
        folders, patient, person, levels.each(-2, lambda text: _number(_STUDY, text)), views // 2, views % 2 == 1
    )


def parse_studies(file: Path, written: pa.Array | pa.ChunkedArray, column: str) -> Paths:
    """Take a column of study paths apart; each counts as its first frontal view.

    Raises:
        DataError: a path is not of the expected form; the message names its line.
    """
    levels = _Levels(file, written, column)
    folders = levels.each(-3, lambda text: FOLDERS.index(text) if text in FOLDERS else None)
    patient, person = levels.patients(-2)
    numbers = levels.each(-1, lambda text: _number(_STUDY, text))
    return Paths(folders, patient, person, numbers, np.ones_like(numbers), np.zeros(len(numbers), bool))


def _view(text: str) -> int | None:
    match = _FILE.fullmatch(text)
    return int(match[1]) * 2 + (match[2] == "lateral") if match else None


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    match = pattern.fullmatch(text)
    return int(match[1]) if match else None


def _names(codes: Ints, name: Callable[[int], str]) -> tuple[pa.StringArray, pa.Array]:
    values, places = np.unique(codes, return_inverse=True)
    return pa.array([name(int(value)) for value in values], pa.string()), pa.array(places)


class _Levels:
    """The folders of paths, counted from the end: few different ones, but for the patients."""

    def __init__(self, file: Path, written: Any, column: str) -> None:
        self._file, self._column = file, column
        self._written = written.combine_chunks() if isinstance(written, pa.ChunkedArray) else written
        lists = pc.split_pattern(pc.fill_null(self._written, ""), "/")
        self._values = lists.values
        self._starts = np.asarray(lists.offsets[:-1])
        self._ends = np.asarray(lists.offsets[1:])

    def at(self, level: int) -> pa.StringArray:
        places = self._ends.astype(np.int64) + level
        self._refuse(places < self._starts)
        return self._values.take(pa.array(places))

    def each(self, level: int, meaning: Callable[[str], int | None]) -> Ints:
        encoded = self.at(level).dictionary_encode()
        meanings = [meaning(text) for text in encoded.dictionary.to_pylist()]
        codes = np.array([-1 if number is None else number for number in meanings], np.int64)
        numbers = codes[np.asarray(encoded.indices)] if len(codes) else np.zeros(0, np.int64)
        self._refuse(numbers < 0)
        return numbers

    def patients(self, level: int) -> tuple[pa.StringArray, Ints]:
        names = self.at(level)
        digits = pc.utf8_slice_codeunits(names, len("patient"), 99)
        good = pc.and_(pc.starts_with(names, "patient"), pc.ascii_is_decimal(digits))
        self._refuse(~np.asarray(good))
        return names, np.asarray(digits.cast(pa.int64()))

    def _refuse(self, faulty: npt.NDArray[np.bool_]) -> None:
        if faulty.any():
            row = int(np.flatnonzero(faulty)[0])
            raise DataError(
                f"{self._file}:{row + 2}: {self._column} is {self._written[row].as_py()!r}; expected a path that ends"
                f" like {EXPECTED}"
            )
