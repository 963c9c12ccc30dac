"""Files of judge outputs: what a language-model judge wrote about each study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from instruct.errors import DataError
from instruct.evaluation.files import identity, read_rows
from instruct.evaluation.metric import Settings, Unavailable
from instruct.evaluation.pairs import Pairs


def judge_outputs(metric: str, pairs: Pairs, settings: Settings) -> list[Any]:
    """The judge's output for each study, from lines ``{"id": …, "output": …}``.

    Raises:
        Unavailable: no file of outputs was given for this metric.
        DataError: the file is malformed, an id repeats, or a scored study has no line.
    """
    path = settings.judgements.get(metric)
    if path is None:
        raise Unavailable(
            "judge outputs missing",
            f"give the judge's outputs with --judgements {metric}=FILE (lines of id and output), "
            f"or the column {metric!r} with --scores",
        )
    known = read_judgements(path)
    lost = [study for study in pairs.ids if study not in known]
    if lost:
        raise DataError(
            f"{path}: no judge output for {len(lost)} of {len(pairs)} studies: {', '.join(lost[:5])}"
            f"{' …' if len(lost) > 5 else ''}; write a line with output null where the judge failed"
        )
    return [known[study] for study in pairs.ids]


def read_judgements(path: Path) -> dict[str, Any]:
    """Judge outputs by id.

    Raises:
        DataError: a line lacks ``id`` or ``output``, or an id repeats.
    """
    known: dict[str, Any] = {}
    for row in read_rows(path):
        study = identity(row)
        name = next((name for name in ("output", "text") if name in row.fields), None)
        if name is None:
            raise DataError(f"{row.place}: no 'output'; expected the judge's text, found {', '.join(row.fields)}")
        if study in known:
            raise DataError(f"{row.place}: id {study!r} occurs twice; expected one judge output per study")
        known[study] = row.fields[name]
    return known
