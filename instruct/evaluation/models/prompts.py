"""Prompts of the judges, with ``{reference}`` and ``{candidate}`` in them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from instruct.digest import digest_bytes
from instruct.errors import DataError, UsageError
from instruct.evaluation.metric import Unavailable

_MARKS = ("{reference}", "{candidate}")
_GREEN_WORDS = 300
_STOP = re.compile(r"(?<!\d)\.(?!\d|$) ")
FINERADSCORE = """\
You compare a generated chest X-ray report with the true one and correct it line by line.

The lines of the generated report are numbered. Return one JSON object and nothing else. For each line that has to be
changed so that the report says what the true one says, add an entry whose key is the line's number; for each statement
of the true report that no line makes, add an entry under the key "None" (a list if there are several). Lines that are
right, or differ in wording alone, get no entry. Each entry is an object with
  "corrections": the line as it should be, "" if it should be deleted;
  "clinical severity": exactly one of "Not actionable", "Actionable nonurgent error", "Urgent error", "Emergent error",
    by what would follow for the patient if the line were left as it is;
  "error category": a few words on the kind of the error;
  "comments": one sentence that says why.
If nothing has to be changed, return {}.

Generated report:
{candidate}

True report:
{reference}
"""


@dataclass(frozen=True)
class Prompt:
    """How a pair of reports is put to a judge.

    Attributes:
        write: reference and candidate to the whole prompt.
        origin: where the wording comes from, with its SHA-256; part of what a score is made with.
    """

    write: Callable[[str, str], str]
    origin: str


def prompt_for(metric: str, path: Path | None) -> Prompt:
    """The prompt of a metric's judge: from a file, else the built-in one, else that of an installed package.

    GREEN's model was trained on one exact prompt, which this package does not hold: it comes from the installed
    ``green_score`` package or a file. Both reports are cut to 300 words there. FineRadScore has a prompt of this
    package's own wording; the candidate's sentences are numbered.

    Raises:
        DataError: the file is absent or lacks a mark.
        Unavailable: there is no prompt.
    """
    if path is None and metric == "green":
        return _green_package()
    if path is not None and not path.is_file():
        raise DataError(f"{path}: no such prompt file")
    text = FINERADSCORE if path is None else path.read_text(encoding="utf-8")
    lacks = [mark for mark in _MARKS if mark not in text]
    if lacks:
        raise DataError(f"{path}: lacks {' and '.join(lacks)}; a prompt has both marks where the reports stand")
    shape = _cut if metric == "green" else _plain
    number = numbered if metric == "fineradscore" else shape

    def write(reference: str, candidate: str) -> str:
        filled = {"{reference}": shape(reference), "{candidate}": number(candidate)}
        return re.sub(r"\{(?:reference|candidate)\}", lambda mark: filled[mark.group()], text)

    return Prompt(write, f"{path.name if path else 'built in'}, sha256 {digest_bytes(text)}")


def numbered(report: str) -> str:
    """Sentences of a report as ``[0] … [1] …``, parted as FineRadScore parts them."""
    return " ".join(f"[{place}] {sentence}" for place, sentence in enumerate(_STOP.split(report)))


def _cut(report: str) -> str:
    return " ".join(report.split()[:_GREEN_WORDS])


def _plain(report: str) -> str:
    return report


def _green_package() -> Prompt:
    if find_spec("green_score") is None:
        raise Unavailable(
            "judge prompt missing",
            "its model needs the prompt it was trained on: install green_score, or put that prompt with {reference} "
            "and {candidate} into a file and give --judge-prompt green=FILE",
        )
    try:
        from green_score.utils import make_prompt  # type: ignore[import-not-found, unused-ignore]
    except ImportError as error:
        raise UsageError(
            f"the installed green_score cannot be imported ({error}); give --judge-prompt green=FILE"
        ) from None
    blank = make_prompt("", "")
    return Prompt(
        lambda reference, candidate: str(make_prompt(_cut(reference), _cut(candidate))),
        f"green_score, sha256 {digest_bytes(str(blank))}",
    )
