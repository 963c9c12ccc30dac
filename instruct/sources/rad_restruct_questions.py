"""The questions of Rad-ReStruct reports, as columns; what is not of the published form is found and named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import msgspec
import numpy as np
import orjson
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


class _Info(msgspec.Struct, gc=False):
    answer_type: str
    options: list[str]
    path: str


_Answers = list[str]
_History = list[tuple[str, list[str]]]
_ANSWERS = msgspec.json.Decoder(_Answers)
_HISTORY = msgspec.json.Decoder(_History)
_INFO = msgspec.json.Decoder(_Info)
# Reports of one template repeat the same answers, histories and options, so each is decoded once.
_ROWS = msgspec.json.Decoder(list[tuple[str, msgspec.Raw, msgspec.Raw, msgspec.Raw]])


def questions_of(files: Files, reports: Sequence[Report]) -> tuple[pa.Table, list[int]]:
    """The questions of some reports, and how many each has.

    Raises:
        DataError: one of them is not of the published form, or a report has none.
    """
    try:
        rows = [_ROWS.decode(path.read_bytes()) for *_, path in reports]
        if not all(rows):
            raise ValueError("a report has no question")
        columns = _columns(chain.from_iterable(rows))
    except (OSError, ValueError):
        for *_, path in reports:
            _explain(path)
        raise
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
    return pa.table(columns, schema=QUESTIONS.schema), counts


def _columns(rows: Iterable[tuple[str, msgspec.Raw, msgspec.Raw, msgspec.Raw]]) -> list[pa.Array]:
    """The columns that the questions themselves hold, from ``question`` to ``path``; ValueError if one is not right."""
    questions, *parts = zip(*rows, strict=True)
    (answers, answers_at), (histories, histories_at), (infos, infos_at) = map(_distinct, parts)
    said = list(map(_ANSWERS.decode, answers))
    asked_before = list(map(_HISTORY.decode, histories))
    about = list(map(_INFO.decode, infos))
    for answer, info in set(zip(answers_at, infos_at, strict=True)):
        if _fault(said[answer], about[info]):
            raise ValueError("an answer is not among the options")
    turns = list(chain.from_iterable(asked_before))
    told = pa.StructArray.from_arrays(
        [pa.array([asked for asked, _ in turns], _text), _text_lists([given for _, given in turns])], fields=list(TURN)
    )
    places = pa.array(infos_at)
    return [
        pa.array(questions, _text),
        _text_lists(said).take(pa.array(answers_at)),
        pa.ListArray.from_arrays(_offsets(asked_before), told).take(pa.array(histories_at)),
        pa.array([info.answer_type for info in about], _text).take(places),
        _text_lists([info.options for info in about]).take(places),
        pa.array([info.path for info in about], _text).take(places),
    ]


def _distinct(values: Sequence[msgspec.Raw]) -> tuple[list[bytes], list[int]]:
    """Each different text once, and for every value the place of its text."""
    places: dict[bytes, int] = {}
    found = [places.setdefault(bytes(value), len(places)) for value in values]
    return list(places), found


def _text_lists(values: Sequence[list[str]]) -> pa.ListArray:
    return pa.ListArray.from_arrays(_offsets(values), pa.array(list(chain.from_iterable(values)), _text))


def _offsets(lists: Sequence[Sequence[object]]) -> pa.Array:
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum(np.fromiter(map(len, lists), np.int32, len(lists)), out=offsets[1:])
    return pa.array(offsets)


def _fault(answers: _Answers, info: _Info) -> str | None:
    """What is wrong with a question: it has a known type and an answer, and every answer is among its options."""
    for answer in answers:
        if answer not in info.options:
            return f"the answer {answer!r}, which is not among its options {info.options}"
    if not answers:
        return "no answer"
    if info.answer_type not in ANSWER_TYPES:
        return f"the type {info.answer_type!r}; expected {', '.join(ANSWER_TYPES)}"
    return None


def _explain(path: Path) -> None:
    """Name the first question of a report that is not of the published form, if there is one."""
    try:
        rows = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: malformed JSON ({error.msg}); the file may be cut off") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(rows, list) or not rows:
        found = "no question" if rows == [] else type(rows).__name__
        raise DataError(f"{path}:1: expected a list of questions, found {found}")
    for number, row in enumerate(rows, 1):
        try:
            question, answers, _, info = msgspec.convert(row, tuple[str, _Answers, _History, _Info])
        except msgspec.ValidationError as error:
            raise DataError(
                f"{path}:1: question {number} is not [question, [answer, ...], [[question, [answer, ...]], ...], "
                f"{{answer_type, options, path}}]: {error}"
            ) from None
        if fault := _fault(answers, info):
            raise DataError(f"{path}:1: question {number} ({question!r}) has {fault}")
