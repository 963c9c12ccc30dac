"""MIMIC-CXR-VQA: questions about single MIMIC-CXR images, made from templates over Chest ImaGenome labels.

Layout: https://physionet.org/content/mimic-ext-mimic-cxr-vqa (``dataset/{train,valid,test}.json``, one list each).
Studies, patients and images are MIMIC-CXR's. The question files on GitHub hold no answers and are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Rows, Source, Table, column
from instruct.sources.json_stream import iter_items
from instruct.sources.mimic_keys import numbered_keys

SPLITS = {"train": "train", "valid": "val", "test": "test"}

_text = pa.string()
QUESTIONS = Table(
    "One row per question, in file order, train before val before test.",
    pa.schema(
        [
            column("idx", pa.int64(), "number of the question in its split, as published", False),
            column("split", _text, "train, val or test: the file it comes from; not MIMIC-CXR's split", False),
            column("image", _text, "image, as a path below MIMIC-CXR-JPG's files/", False),
            column("study", _text, "MIMIC-CXR study, s and its number", False),
            column("patient", _text, "MIMIC-CXR patient, p and its number", False),
            column("question", _text, "the question", False),
            column("answers", pa.list_(_text), "answers, in lower case, sorted; empty where nothing answers", False),
            column("semantic_type", _text, "verify, choose or query", False),
            column("content_type", _text, "anatomy, attribute, presence, abnormality, plane, gender or size", False),
            column("template", _text, "the question's template", False),
            column("origin", _text, "file and number of the question in it, from 1", False),
        ]
    ),
)
_TEXTS = ("question", "semantic_type", "content_type", "template", "image_path")


def read(files: Files, options: Options) -> dict[str, Rows]:
    """Read the questions, piece by piece.

    Raises:
        DataError: a file is cut off or malformed, a field is missing or of another shape, or an answer is missing.
    """
    return {"questions": _questions(files)}


def _questions(files: Files) -> Iterator[pa.RecordBatch]:
    for name, split in SPLITS.items():
        (path,) = files[name]
        number = 0
        for records in iter_items(path):
            yield _batch(records, split, path, files.relative(path), number)
            number += len(records)


def _batch(records: Sequence[dict[str, Any]], split: str, path: Path, name: str, before: int) -> pa.RecordBatch:
    def values(field: str) -> list[Any]:
        try:
            return [record[field] for record in records]
        except KeyError:
            index = next(index for index, record in enumerate(records) if field not in record)
            hint = "; the files on GitHub hold no answers" if field == "answer" else ""
            raise DataError(f"{path}: question {before + index + 1} has no field {field!r}{hint}") from None

    def typed(field: str, kind: pa.DataType) -> pa.Array:
        given = values(field)
        array = _array(given, kind)
        if array is None:
            index = next(index for index, value in enumerate(given) if _array([value], kind) is None)
            raise DataError(
                f"{path}: question {before + index + 1} has {field} {given[index]!r}; expected {_NAMES[kind]}"
            )
        return array

    def keys(field: str, prefix: str) -> pa.Array:
        # Numbers in some copies, texts in others.
        texts = pa.array([str(value) for value in values(field)], _text)
        return numbered_keys(texts, prefix, path, field, range(before + 1, before + len(records) + 1))

    texts = {field: typed(field, _text) for field in _TEXTS}
    count = len(records)
    columns = [
        typed("idx", pa.int64()),
        pa.array([split] * count, _text),
        pc.replace_substring_regex(texts["image_path"], pattern="^(.*/)?files/", replacement=""),
        keys("study_id", "s"),
        keys("subject_id", "p"),
        pc.utf8_trim_whitespace(texts["question"]),
        typed("answer", pa.list_(_text)),
        texts["semantic_type"],
        texts["content_type"],
        texts["template"],
        pc.binary_join_element_wise(name, pa.array(range(before + 1, before + count + 1), pa.int64()).cast(_text), ":"),
    ]
    return pa.record_batch(columns, schema=QUESTIONS.schema)


_NAMES = {_text: "a text", pa.int64(): "a whole number", pa.list_(_text): "a list of texts"}


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """Values as an array without nulls; None where they are not of the kind."""
    if pa.types.is_list(kind) and not all(isinstance(value, list) for value in values):
        return None  # Arrow would take a text for a list of letters
    try:
        array = pa.array(values, kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return None
    return None if array.null_count else array


_OBTAIN = "Sign the agreement of mimic-ext-mimic-cxr-vqa on PhysioNet (credentialed access) and download its dataset/."

SOURCE = Source(
    name="mimic_cxr_vqa",
    title="MIMIC-CXR-VQA (MIMIC-Ext-MIMIC-CXR-VQA)",
    homepage="https://physionet.org/content/mimic-ext-mimic-cxr-vqa",
    folders=(
        *("mimic_cxr_vqa", "mimic-cxr-vqa", "MIMIC-CXR-VQA", "MIMIC-Ext-MIMIC-CXR-VQA", "mimic-ext-mimic-cxr-vqa"),
        "physionet.org/files/mimic-ext-mimic-cxr-vqa",
    ),
    inputs=tuple(
        Input(
            split,
            (
                *(f"{folder}dataset/{split}.json" for folder in ("", "*/", "*/MIMIC-Ext-MIMIC-CXR-VQA/")),
                f"{split}.json",
            ),
            _OBTAIN,
        )
        for split in SPLITS
    ),
    image_folders=("files",),
    tables={"questions": QUESTIONS},
    marks=(b'"semantic_type"',),
    read=read,
)
