"""MIMIC-NLE: sentences of MIMIC-CXR reports that explain a diagnosis by what is seen.

Layout: https://github.com/maximek3/MIMIC-NLE (``mimic-nle/mimic-nle-{train,dev,test}.json``, one JSON object a line).
The repository holds only ids and labels; its script takes the sentences out of the user's own reports. They are not
taken out here: the number of a sentence depends on the exact version of the sentence splitter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Rows, Source, Table, column
from instruct.sources.files import decode_json_lines
from instruct.sources.mimic_keys import numbered_keys

SPLITS = {"train": "train", "dev": "val", "test": "test"}

CLASSES = (
    "Atelectasis", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Lung Lesion", "Lung Opacity",
    "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax",
)  # fmt: skip
"""Classes in the order of the label lists."""
CERTAINTIES = ("negative", "uncertain", "positive")

_AT_A_TIME = 2048
Flags = npt.NDArray[np.bool_]

_text = pa.string()
EXPLANATIONS = Table(
    "One row per sentence, in file order, train before val before test.",
    pa.schema(
        [
            column("sentence", _text, "sentence_ID: study, # and the number of the sentence in the report", False),
            column("study", _text, "MIMIC-CXR study, s and its number", False),
            column("patient", _text, "MIMIC-CXR patient, p and its number", False),
            column("release_split", _text, "train, val or test: the file it comes from, not MIMIC-CXR's split", False),
            column("diagnoses", pa.list_(_text), "what the sentence explains, in the order of the classes", False),
            column("evidence", pa.list_(_text), "what it explains it by; empty where it names none", False),
            column(
                "image_labels",
                pa.map_(_text, _text),
                "for each class whether the image shows it: negative, uncertain or positive",
                False,
            ),
            column("explanation", _text, "the sentence", False),
            column("origin", _text, "file and line", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, Rows]:
    """Read the sentences, piece by piece.

    Raises:
        DataError: a line is no JSON object, lacks a field, or its labels are not of the published form.
    """
    return {"explanations": _explanations(files)}


def _explanations(files: Files) -> Iterator[pa.RecordBatch]:
    for name, split in SPLITS.items():
        (path,) = files[name]
        numbers, lines = _lines(path)
        for start in range(0, len(lines), _AT_A_TIME):
            piece = slice(start, start + _AT_A_TIME)
            yield _batch(_Rows(path, numbers[piece], lines[piece]), split, files.relative(path))


class _Line(msgspec.Struct, gc=False):
    sentence_ID: str
    report_ID: str
    patient_ID: str
    # Lists of zeros and ones, read for many lines at once.
    diagnosis_label: msgspec.Raw
    evidence_label: msgspec.Raw
    img_labels: msgspec.Raw
    nle: str


def _lines(path: Path) -> tuple[Sequence[int], list[_Line]]:
    try:
        return decode_json_lines(path, _Line)
    except DataError as error:
        hint = " (query lines have no text: run extract_mimic_nle.py)" if "field `nle`" in str(error) else ""
        raise DataError(f"{error}{hint}") from None


def _batch(rows: _Rows, split: str, name: str) -> pa.RecordBatch:
    columns = {
        "sentence": rows.texts("sentence_ID"),
        "study": numbered_keys(rows.texts("report_ID"), "s", rows.path, "report_ID", rows.lines),
        "patient": numbered_keys(rows.texts("patient_ID"), "p", rows.path, "patient_ID", rows.lines),
        "release_split": pa.repeat(pa.scalar(split, _text), len(rows.lines)),
        "diagnoses": _named(rows.flags("diagnosis_label", (len(CLASSES),))),
        "evidence": _named(rows.flags("evidence_label", (len(CLASSES),))),
        "image_labels": _certainties(rows.flags("img_labels", (len(CLASSES), len(CERTAINTIES)))),
        "explanation": pc.binary_join(pc.utf8_split_whitespace(pc.utf8_trim_whitespace(rows.texts("nle"))), " "),
        "origin": pc.binary_join_element_wise(name, pa.array(rows.lines, pa.int64()).cast(_text), ":"),
    }
    return pa.record_batch([columns[field.name] for field in EXPLANATIONS.schema], schema=EXPLANATIONS.schema)


class _Rows:
    """Some objects of a file, field by field."""

    def __init__(self, path: Path, lines: Sequence[int], records: Sequence[_Line]) -> None:
        self.path = path
        self.lines = lines
        self._records = records

    def _values(self, name: str) -> list[Any]:
        return list(map(attrgetter(name), self._records))

    def _error(self, index: int, message: str) -> DataError:
        return DataError(f"{self.path}:{self.lines[index]}: {message}")

    def texts(self, name: str) -> pa.Array:
        """A field of texts, none of them empty."""
        values = self._values(name)
        if not all(value and not value.isspace() for value in values):
            index = next(index for index, value in enumerate(values) if not value.strip())
            raise self._error(index, f"{name} is {values[index]!r}; expected a text")
        return pa.array(values, _text)

    def flags(self, name: str, shape: tuple[int, ...]) -> Flags:
        """A field of zeros and ones of a shape; where it has two axes, one 1 in each row."""
        values = self._values(name)
        flags = _flags(values, shape)
        if flags is None:
            index = next(index for index, value in enumerate(values) if _flags([value], shape) is None)
            found, form = bytes(values[index]).decode(), " x ".join(map(str, shape))
            raise self._error(index, f"{name} is {found}; expected {form} numbers, each 0 or 1")
        return flags


def _flags(values: Sequence[msgspec.Raw], shape: tuple[int, ...]) -> Flags | None:
    """JSON lists of zeros and ones as an array of shape (values, *shape); None where they are not that."""
    # Without blanks all of them are the same text but for the digits.
    written = np.frombuffer(b"".join(values).translate(None, b" \t\r\n"), np.uint8)
    form = np.frombuffer(msgspec.json.encode(np.zeros(shape, int).tolist()), np.uint8)
    if len(written) != len(values) * len(form):
        return None
    characters = written.reshape(len(values), len(form))
    ones = characters == ord("1")
    if (np.where(ones, np.uint8(ord("0")), characters) != form).any():
        return None
    flags: Flags = ones[:, form == ord("0")].reshape(len(values), *shape)
    if len(shape) == 2 and (flags.sum(axis=2) != 1).any():
        return None
    return flags


def _named(flags: Flags) -> pa.ListArray:
    """Classes whose flag is set."""
    names = pa.array(CLASSES, _text).take(pa.array(np.nonzero(flags)[1]))
    return pa.ListArray.from_arrays(_offsets(flags.sum(axis=1)), names)


def _certainties(flags: Flags) -> pa.MapArray:
    keys = pa.array(CLASSES * len(flags), _text)
    items = pa.array(CERTAINTIES, _text).take(pa.array(flags.argmax(axis=2).ravel()))
    return pa.MapArray.from_arrays(_offsets(np.full(len(flags), len(CLASSES))), keys, items)


def _offsets(lengths: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())


_OBTAIN = (
    "Clone https://github.com/maximek3/MIMIC-NLE and run its extract_mimic_nle.py on the MIMIC-CXR reports; the query "
    "files alone hold no sentences."
)

SOURCE = Source(
    name="mimic_nle",
    title="MIMIC-NLE",
    homepage="https://github.com/maximek3/MIMIC-NLE",
    folders=("mimic_nle", "MIMIC-NLE", "mimic-nle"),
    inputs=tuple(
        Input(split, tuple(f"{folder}mimic-nle-{split}.json" for folder in ("mimic-nle/", "", "*/")), _OBTAIN)
        for split in SPLITS
    ),
    image_folders=("files",),
    tables={"explanations": EXPLANATIONS},
    read=read,
)
