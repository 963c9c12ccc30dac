"""Answers of the tasks: taken as parsed, or read from plain text by one stated rule per kind.

A row of a prediction file may carry ``target`` (the true answer as data) and ``answer`` (the model's answer as
data; null means it could not be read). Where it does not, the plain texts are read here; where ``options`` says which
menu was shown, by the reader of menus. An answer that cannot be read is None, is counted, and is wrong. A target that
cannot be read is an error of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from instruct.errors import DataError
from instruct.evaluation.pairs import Pairs
from instruct.prompts.menu import read_choices

T = TypeVar("T")
Reader = Callable[[Any, Mapping[str, Any]], T | None]
_NONE = frozenset(("", "none", "no finding", "no findings", "no abnormality", "not present"))
_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_LARGEST = 1e9


def normal(text: object) -> str:
    """Lower case, runs of blanks as one, no blanks or closing stop at the ends."""
    return " ".join(str(text).split()).strip(" .").lower()


def answers_and_targets(pairs: Pairs, reader: Reader[T]) -> tuple[list[T | None], list[T]]:
    """Answers (None where unread) and targets of every pair.

    Args:
        pairs: the examples.
        reader: turns data or text into an answer, given the row's other fields; None where it cannot.

    Raises:
        DataError: a target cannot be read.
    """
    answers: list[T | None] = []
    targets: list[T] = []
    for study, text, truth, extra in zip(pairs.ids, pairs.predictions, pairs.texts, pairs.extras, strict=True):
        true = truth if extra.get("target") is None else extra["target"]
        said = extra.get("answer", text or None)
        try:
            target = reader(true, extra)
            answers.append(None if said is None else reader(said, extra))
        except DataError as error:
            raise DataError(f"example {study!r}: {error}") from None
        if target is None:
            raise DataError(f"example {study!r}: the true answer {true!r} cannot be read")
        targets.append(target)
    return answers, targets


def json_of(text: str) -> Any:
    """The JSON of a text; None where it is none, as are brackets or digits without end."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_number(value: Any) -> bool:
    """A number of a size that counts and coordinates have: models also write digits without end."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST


def options_of(extra: Mapping[str, Any]) -> Sequence[str]:
    """The row's closed list of answers, empty where it names none.

    Raises:
        DataError: ``options`` is no list.
    """
    options = extra.get("options") or []
    if not isinstance(options, (list, tuple)):
        raise DataError(f"options is {options!r}; expected a list of the possible answers")
    return [str(option) for option in options]


def choice_of(value: Any, extra: Mapping[str, Any]) -> str | None:
    """One option, in any form in which a menu shows it (:func:`~instruct.prompts.menu.read_choices`); normalised.

    Without ``options`` the whole text is the answer. A text that names none of the options, or several, cannot be read.
    """
    if not isinstance(value, str):
        return None
    options = options_of(extra)
    said = normal(value)
    if not options or said in map(normal, options):
        return said or None
    read = read_choices(value, options) or ()
    return normal(read[0]) if len(read) == 1 else None


def yes_no_of(value: Any, extra: Mapping[str, Any]) -> str | None:
    """``yes`` or ``no``: a boolean, or the first word of a text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    word = re.match(r"\W*(\w+)", value) if isinstance(value, str) else None
    return word.group(1).lower() if word and word.group(1).lower() in ("yes", "no") else None


def labels_of(value: Any, extra: Mapping[str, Any]) -> frozenset[str] | None:
    """A set of labels, normalised: a list, or a text.

    With ``options`` a text is the labels that it names in any form in which a menu shows them; one that names none
    cannot be read. Without, it is parted at commas, semicolons or line breaks. "None" and "No finding" are the empty
    set unless they are options themselves.
    """
    given = options_of(extra)
    options = set(map(normal, given))
    if isinstance(value, str):
        read = read_choices(value, given) if given else None
        value = re.split(r"[,;\n]", value) if read is None else read
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) for item in value):
        return None
    labels = {normal(item) for item in value}
    labels -= {label for label in labels if label in _NONE and label not in options}
    return frozenset(labels) if not options or labels <= options else None


def numbers_of(value: Any, extra: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Numbers: one, a list of them, or all numbers that follow a colon in a text (else all numbers in it)."""
    if isinstance(value, str):
        value = [float(number) for number in re.findall(rf":\s*({_NUMBER.pattern})", value) or _NUMBER.findall(value)]
    numbers = value if isinstance(value, (list, tuple)) else [value]
    return tuple(map(float, numbers)) if numbers and all(map(is_number, numbers)) else None
