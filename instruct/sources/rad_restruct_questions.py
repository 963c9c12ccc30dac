"""The questions of Rad-ReStruct reports, as columns; what is not of the published form is found and named."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Table, column

ANSWER_TYPES = ("single_choice", "multi_choice", "fixed_choice")

Report = tuple[str, int, Path]
"""Split, number and file of a report."""

_text = pa.string()
_texts = pa.list_(_text)
TURN = pa.struct([("question", _text), ("answers", _texts)])

QUESTIONS = Table(
    "One row per question, in the order of the reports, then as the file has them.",
    pa.schema(
        [
            column("study", _text, "OpenI study: CXR and the number of the report", False),
            column("split", _text, "train, val or test", False),
            column("number", pa.int32(), "position in the report's file, from 1", False),
            column("question", _text, "the question", False),
            column("answers", _texts, "right answers, nearly always one; all of them among the options", False),
            column(
                "history",
                pa.list_(TURN),
                "questions above this one in the report's tree, outermost first, with their true answers",
                False,
            ),
            column("answer_type", _text, "single_choice, multi_choice or fixed_choice", False),
            column("options", _texts, "possible answers, in the order of the file", False),
            column("path", _text, "place in the report template; several questions of a report can share one", False),
            column("origin", _text, "file and number of the question in it", False),
        ]
    ),
)

# Whatever Python or Arrow raises over a question of another shape.
_MISSHAPEN = (TypeError, ValueError, KeyError, IndexError, pa.ArrowException)


def questions_of(files: Files, reports: Sequence[Report], rows: Sequence[list[Any]]) -> pa.Table:
    """The questions of some reports.

    Raises:
        DataError: one of them is not of the published form.
    """
    try:
        columns = _columns(list(chain.from_iterable(rows)))
    except _MISSHAPEN:
        for (_, _, path), questions in zip(reports, rows, strict=True):
            _explain(path, questions)
        raise
    for (_, _, path), questions in zip(reports, rows, strict=True):
        _check_answers(path, questions)
    counts = list(map(len, rows))
    report = pa.array(np.repeat(np.arange(len(counts)), counts))
    first = np.repeat(np.cumsum([0, *counts[:-1]]), counts)
    number = pa.array(np.arange(sum(counts)) - first + 1, pa.int32())
    origin = pa.array([files.relative(path) for *_, path in reports], _text).take(report)
    columns = [
        pa.array([f"CXR{number}" for _, number, _ in reports], _text).take(report),
        pa.array([split for split, *_ in reports], _text).take(report),
        number,
        *columns,
        pc.binary_join_element_wise(origin, number.cast(_text), ":"),
    ]
    return pa.table(columns, schema=QUESTIONS.schema)


def _columns(rows: list[Any]) -> list[pa.Array]:
    """The columns that the questions themselves hold, from ``question`` to ``path``."""
    questions, answers, histories, infos = zip(*rows, strict=True)
    turns = list(chain.from_iterable(histories))
    asked, given = zip(*turns, strict=True) if turns else ((), ())
    said = pa.StructArray.from_arrays([pa.array(asked, _text), _text_lists(given)], fields=list(TURN))
    return [
        pa.array(questions, _text),
        _text_lists(answers),
        pa.ListArray.from_arrays(_offsets(histories), said),
        pa.array([info["answer_type"] for info in infos], _text),
        _text_lists([info["options"] for info in infos]),
        pa.array([info["path"] for info in infos], _text),
    ]


def _text_lists(values: Sequence[list[str]]) -> pa.ListArray:
    if set(map(type, values)) - {list}:
        raise TypeError("expected a list of texts")
    return pa.ListArray.from_arrays(_offsets(values), pa.array(list(chain.from_iterable(values)), _text))


def _offsets(lists: Sequence[list[Any]]) -> pa.Array:
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, lists), np.int32, len(lists)), out=offsets[1:])
    return pa.array(offsets)


def _explain(path: Path, rows: list[Any]) -> None:
    """Name the first question of a report that is not of the published form."""
    for number, row in enumerate(rows, 1):
        try:
            _columns([row])
        except _MISSHAPEN as error:
            reason = f"no field {error}" if isinstance(error, KeyError) else str(error).splitlines()[0]
            raise DataError(
                f"{path}:1: question {number} is not [question, [answer, ...], [[question, [answer, ...]], ...], "
                f"{{answer_type, options, path}}]: {reason}"
            ) from None


def _check_answers(path: Path, rows: list[Any]) -> None:
    """Every question has a known type and an answer, and every answer is among its options."""
    for number, (question, answers, _, info) in enumerate(rows, 1):
        options, kind = info["options"], info["answer_type"]
        for answer in answers:
            if answer not in options:
                what = f"the answer {answer!r}, which is not among its options {options}"
                break
        else:
            if answers and kind in ANSWER_TYPES:
                continue
            what = f"the type {kind!r}; expected {', '.join(ANSWER_TYPES)}" if answers else "no answer"
        raise DataError(f"{path}:1: question {number} ({question!r}) has {what}")
