"""RadQA: questions about MIMIC-III radiology reports, answered by spans of their findings and impression sections.

Layout: https://physionet.org/content/radqa (release 1.0.0): ``{train,dev,test}.json`` in the form of SQuAD 2.0. A
document is a report, of any modality; a paragraph is one of its sections. The reports are not linked to MIMIC-CXR.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.files import origins, read_json

SPLITS = {"train": "train", "dev": "val", "test": "test"}

_text = pa.string()
ANSWER = pa.struct([("text", _text), ("start", pa.int32()), ("exact", pa.bool_())])

QUESTIONS = Table(
    "One row per question and section, in file order, train before val before test.",
    pa.schema(
        [
            column("question_id", _text, "id of the question, unique within its file", False),
            column("split", _text, "train, val (the file dev.json) or test", False),
            column(
                "report", _text, "title of the report; its file and number where that is empty or another's too", False
            ),
            column("section", pa.int32(), "position of the section in the report, from 1", False),
            column("document", _text, "document_id of the section; null where the release has none"),
            column("context", _text, "text of the section as it stands, with its line breaks", False),
            column("question", _text, "the question", False),
            column("answerable", pa.bool_(), "whether the section answers it", False),
            column(
                "answers",
                pa.list_(ANSWER),
                "answer spans, one per annotator, empty where it is not answerable: the text as it stands, the "
                "character at which it starts, and whether the context has the text there",
                False,
            ),
            column("origin", _text, "file and number of the question in it", False),
        ]
    ),
)


# What Python or Arrow raises over a file of another shape.
_MISSHAPEN = (TypeError, ValueError, KeyError, AttributeError, pa.ArrowException)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the questions.

    Raises:
        DataError: a file is no SQuAD file, an id stands twice in a file, or a question is answerable and has no
            answer.
    """
    parts = []
    for name, split in SPLITS.items():
        (path,) = files[name]
        content = read_json(path)
        try:
            parts.append(_questions(content["data"], name, split, files.relative(path)))
        except _MISSHAPEN:
            _explain(path, content)
            raise
    return {"questions": pa.concat_tables(parts)}


def _questions(documents: list[Any], name: str, split: str, origin: str) -> pa.Table:
    """The questions of a file; raises one of ``_MISSHAPEN`` where something is not as it should be."""
    titles = Counter(document.get("title") for document in documents)
    sections = [
        (
            document["title"] if document.get("title") and titles[document["title"]] == 1 else f"{name}-{number}",
            section,
            _name(paragraph.get("document_id")),
            paragraph["context"],
        )
        for number, document in enumerate(documents, 1)
        for section, paragraph in enumerate(document["paragraphs"], 1)
    ]
    asked = [paragraph["qas"] for document in documents for paragraph in document["paragraphs"]]
    questions = list(chain.from_iterable(asked))
    ids, texts = [question["id"] for question in questions], [question["question"].strip() for question in questions]
    impossible = [question["is_impossible"] for question in questions]
    answers = [
        [] if not_there else question["answers"] for question, not_there in zip(questions, impossible, strict=True)
    ]
    if (
        len(set(ids)) < len(ids)
        or not all(ids)
        or not all(texts)
        or None in impossible
        or list(map(bool, answers)).count(False) != impossible.count(True)
    ):
        raise ValueError("an id stands twice, a question is empty or an answer is missing")
    section = pa.array(np.repeat(np.arange(len(asked)), list(map(len, asked))))
    reports, positions, ids_of_sections, contexts = zip(*sections, strict=True) if sections else ((), (), (), ())
    flat = [
        (answer["text"], answer["answer_start"], contexts[place].startswith(answer["text"], answer["answer_start"]))
        for place, some in zip(section.to_pylist(), answers, strict=True)
        for answer in some
    ]
    spans = pa.StructArray.from_arrays(
        [pa.array(values, field.type) for values, field in zip(_transposed(flat, 3), ANSWER, strict=True)],
        fields=list(ANSWER),
    )
    offsets = pa.array(np.concatenate([[0], np.cumsum(list(map(len, answers)))]), pa.int32())
    columns = [
        pa.array(ids, _text),
        pa.array([split] * len(ids), _text),
        pa.array(reports, _text).take(section),
        pa.array(positions, pa.int32()).take(section),
        pa.array(ids_of_sections, _text).take(section),
        pa.array(contexts, _text).take(section),
        pa.array(texts, _text),
        pc.invert(pa.array(impossible, pa.bool_())),
        pa.ListArray.from_arrays(offsets, spans),
        origins(origin, len(ids)),
    ]
    return pa.table(columns, schema=QUESTIONS.schema)


def _name(value: Any) -> str | None:
    return None if value is None else str(value)


def _transposed(rows: list[tuple[Any, ...]], width: int) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True)) if rows else [()] * width


def _explain(path: Path, content: Any) -> None:
    """Name the first place of a file that is not of the published form."""
    place = f"{path}:1: file"
    ids: set[str] = set()
    for number, document in enumerate(_list(content, "data", place), 1):
        place = f"{path}:1: document {number}"
        title = _object(document, place).get("title")
        if not isinstance(title, str | None):
            raise DataError(f"{place}: title is {title!r}; expected a text")
        for section, paragraph in enumerate(_list(document, "paragraphs", place), 1):
            place = f"{path}:1: document {number} ({title}), paragraph {section}"
            _string(paragraph, "context", place)
            for question in _list(paragraph, "qas", place):
                identifier = _string(question, "id", place)
                if identifier in ids:
                    raise DataError(f"{place}: id {identifier!r} stands also before; ids must be unique within a file")
                ids.add(identifier)
                _explain_question(question, f"{place}, question {identifier!r}")


def _explain_question(question: dict[str, Any], place: str) -> None:
    _string(question, "question", place)
    if not isinstance(question.get("is_impossible"), bool):
        raise DataError(f"{place}: is_impossible is {question.get('is_impossible')!r}; expected true or false")
    answers = _list(question, "answers", place)
    if not answers and not question["is_impossible"]:
        raise DataError(f"{place}: it is not marked as impossible and has no answer")
    for answer in answers:
        _string(answer, "text", place)
        if type(answer.get("answer_start")) is not int:
            raise DataError(f"{place}: answer_start is {answer.get('answer_start')!r}; expected a number")


def _object(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected an object in the form of SQuAD 2.0, found {type(value).__name__}")
    return value


def _list(value: Any, name: str, place: str) -> list[Any]:
    found = _object(value, place).get(name)
    if not isinstance(found, list):
        raise DataError(f"{place}: no list {name!r}; SQuAD 2.0 has the lists data, paragraphs, qas and answers")
    return found


def _string(value: Any, name: str, place: str) -> str:
    found = _object(value, place).get(name)
    if not isinstance(found, str) or not found.strip():
        raise DataError(f"{place}: {name} is {found!r}; expected a text")
    return found


_OBTAIN = "Sign the agreement of radqa on PhysioNet (credentialed access) and download it."

SOURCE = Source(
    name="radqa",
    title="RadQA",
    homepage="https://physionet.org/content/radqa",
    folders=("radqa", "RadQA", "physionet.org/files/radqa"),
    inputs=tuple(Input(name, (f"{name}.json", f"1.0.0/{name}.json", f"radqa/{name}.json"), _OBTAIN) for name in SPLITS),
    image_folders=("images",),
    tables={"questions": QUESTIONS},
    marks=(b'"paragraphs"',),
    read=read,
)
