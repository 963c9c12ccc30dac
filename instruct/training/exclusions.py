"""The exclusion list of a run: rows that ``cxr-instruct check`` found unfit, one JSON line each, read by the plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from instruct.build.files import write_text
from instruct.errors import DataError
from instruct.mixture.index import MixtureIndex

EXCLUSIONS = "exclusions.jsonl"
TOO_LONG = "too_long"


class Exclusion(NamedTuple):
    """A row left out.

    Attributes:
        label: ``[Task] [Dataset]``.
        split: ``train``, ``validation`` or ``test``.
        row: its number in the shards of that row and split.
        id: its id.
        reason: why, in one word.
        detail: why, in a sentence.
        data: digest of the shards that the number counts in.
    """

    label: str
    split: str
    row: int
    id: str
    reason: str
    detail: str
    data: str


def write_exclusions(run: Path, exclusions: Iterable[Exclusion]) -> Path:
    """Write the list of a run, in place of an earlier one; one without rows is written too."""
    file = run / EXCLUSIONS
    write_text(file, "".join(json.dumps(entry._asdict(), ensure_ascii=False) + "\n" for entry in exclusions))
    return file


def read_exclusions(run: Path, index: MixtureIndex) -> list[dict[int, str]]:
    """Which rows of a mixture the run's list leaves out.

    Rows that were too long are not among them: they are measured against the ``max_length`` of the run that reads.
    Lines about parts and splits that the mixture does not draw from make no difference.

    Args:
        run: folder of the run.
        index: the mixture in one split.

    Returns:
        Per part of the index, number of the row to the reason; empty where there is no list.

    Raises:
        DataError: the list is broken, or was written for other data than the mixture's.
    """
    file = run / EXCLUSIONS
    found: list[dict[int, str]] = [{} for _ in index.parts]
    if not file.is_file():
        return found
    by_data = {(part.label, part.digest): number for number, part in enumerate(index.parts)}
    labels = {part.label for part in index.parts}
    for place, entry in _entries(file):
        if entry.split != index.split or entry.label not in labels:
            continue
        number = by_data.get((entry.label, entry.data))
        if number is None or not 0 <= entry.row < index.parts[number].size:
            raise DataError(
                f"{place}: row {entry.row} of {entry.label} was counted in other shards than the mixture has now; "
                "run `cxr-instruct check` again, or remove the file"
            )
        if entry.reason != TOO_LONG:
            found[number][entry.row] = entry.reason
    return found


def _entries(file: Path) -> Sequence[tuple[str, Exclusion]]:
    entries = []
    for number, text in enumerate(file.read_text("utf-8").split("\n"), 1):
        if text.strip():
            try:
                entries.append((f"{file}:{number}", Exclusion(**json.loads(text))))
            except (ValueError, TypeError):
                raise DataError(
                    f"{file}:{number}: expected a JSON object with {', '.join(Exclusion._fields)}; "
                    "run `cxr-instruct check` again, or remove the file"
                ) from None
    return entries
