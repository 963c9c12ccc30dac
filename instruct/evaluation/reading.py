"""Reading predictions and references into :class:`~instruct.evaluation.pairs.Pairs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instruct.errors import DataError
from instruct.evaluation.files import Row, identity, read_rows, unicode_text
from instruct.evaluation.metric import is_missing
from instruct.evaluation.pairs import Group, Pairs, group_of, make_pairs
from instruct.evaluation.sections import check_section, is_rexrank, section_of_reference, section_of_report

_PREDICTION = ("prediction", "model_prediction", "text", "report")
_REFERENCE = ("reference", "text", "report")
_OWN = frozenset(("id", "study_id", "prediction", "model_prediction", "reference", "text", "report"))


def read_predictions(
    predictions: str | Path, references: str | Path | None = None, *, section: str | None = None
) -> Pairs:
    """Read a prediction file, with the references from the same file or from one of their own.

    Understood are ReXrank prediction JSON (``model_prediction`` beside ``section_findings`` and
    ``section_impression``), the two-CSV form (``study_id, report`` in both), JSON of id → text or [text], and JSONL
    lines as the generation command writes them: ``{id, task, dataset, split, prediction, reference}`` and optionally
    ``answer, target, options, finding``. Against a dataset folder lines of ``{id, prediction}`` are enough; the fields
    that say what is right and how it is read are the folder's.

    Args:
        predictions: the prediction file.
        references: file of the references, or a dataset folder; without it they are taken from the prediction file.
        section: what to score of ReXrank records: ``findings`` (their default), ``impression`` or
            ``findings+impression``. For other files it only names what the texts are.

    Returns:
        One pair per prediction, in file order.

    Raises:
        DataError: a file is malformed, an id repeats or is on one side only, or no study has a reference.
        UsageError: the section is unknown, or the folder is no finished build.
    """
    board = check_section(section or "findings")
    path = Path(predictions)
    rows = read_rows(path)
    if not rows:
        raise DataError(f"{path}: no predictions in the file")
    if references is not None and Path(references).is_dir():
        return _against_folder(path, rows, Path(references), section or "")
    others = read_rows(Path(references)) if references is not None else []
    rexrank = is_rexrank(rows[0].fields) or bool(others and is_rexrank(others[0].fields))
    ids = _unique(rows)
    if references is not None:
        known = _by_id(others, board, whole=rexrank)
        _same_ids(path, ids, Path(references), known)
        truths = [known[study] for study in ids]
    else:
        _needs_references(path, rows)
        truths = [_reference(row, board, required=False, whole=rexrank) for row in rows]
    texts = [_prediction(row, alone=references is None) for row in rows]
    parts = [section_of_report(text, board) if text and rexrank else text for text in texts]
    cut = sum(part != text for part, text in zip(parts, texts, strict=True))
    extras = [{name: value for name, value in row.fields.items() if name not in _OWN} for row in rows]
    try:
        return make_pairs(
            ids,
            parts,
            truths,
            extras,
            board if rexrank or section else "",
            (f"{cut} of {len(rows)} predictions were cut to their {board} section",) if cut else (),
        )
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _against_folder(path: Path, rows: list[Row], folder: Path, section: str) -> Pairs:
    from instruct.evaluation.dataset_folder import read_truths

    ids = _unique(rows)
    truths, without = read_truths(folder, rows, ids)
    texts = [_prediction(row, alone=False) for row in rows]
    extras = [truth.extra for truth in truths]
    try:
        return make_pairs(ids, texts, [truth.reference for truth in truths], extras, section, (), without)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def read_references(path: str | Path, *, section: str = "findings") -> dict[str, str | None]:
    """References by id, None for a study that lacks the section.

    Raises:
        DataError: the file is malformed or an id repeats.
        UsageError: the section is unknown.
    """
    return _by_id(read_rows(Path(path)), check_section(section), whole=False)


def _unique(rows: list[Row]) -> list[str]:
    """Ids of the rows; the same id may stand in several tasks, datasets or splits."""
    places: dict[tuple[Group, str], str] = {}
    ids = []
    for row in rows:
        ids.append(identity(row))
        key = (group_of(row.fields), ids[-1])
        if key in places:
            raise DataError(
                f"{row.place}: id {ids[-1]!r} occurs twice, first at {places[key]}; expected one prediction per study"
            )
        places[key] = row.place
    return ids


def _by_id(rows: list[Row], section: str, *, whole: bool) -> dict[str, str | None]:
    known: dict[str, str | None] = {}
    for row in rows:
        study = identity(row)
        if study in known:
            raise DataError(f"{row.place}: id {study!r} occurs twice; every study must have one reference")
        known[study] = _reference(row, section, required=True, whole=whole)
    return known


def _prediction(row: Row, *, alone: bool) -> str | None:
    names = _PREDICTION[:2] if alone else _PREDICTION
    name = _first(row.fields, names)
    if name is None:
        raise DataError(
            f"{row.place}: no prediction; expected a field {' or '.join(map(repr, names))}, "
            f"found {', '.join(row.fields)}" + ("" if not alone else "; references of their own go to --references")
        )
    return _text(row, name)


def _reference(row: Row, section: str, *, required: bool, whole: bool) -> str | None:
    """The reference of a row; of a whole report, where predictions are cut to a section, the same section."""
    if "section_findings" in row.fields or "section_impression" in row.fields:
        value = section_of_reference(row.fields, section)
        if is_missing(value):
            return None
        if isinstance(value, str):
            return unicode_text(row, f"section_{section}", value)
        raise DataError(f"{row.place}: section is {type(value).__name__}; expected a text or NaN")
    name = _first(row.fields, _REFERENCE if required else ("reference", "report"))
    if name is None:
        if required:
            raise DataError(
                f"{row.place}: no reference; expected section_findings/section_impression or a field "
                f"{' or '.join(map(repr, _REFERENCE))}, found {', '.join(row.fields)}"
            )
        return None
    text = _text(row, name)
    return section_of_report(text, section) if text and whole else text


def _text(row: Row, name: str) -> str | None:
    value = row.fields[name]
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if is_missing(value):
        return None
    if isinstance(value, str):
        return unicode_text(row, name, value)
    if isinstance(value, list):
        raise DataError(f"{row.place}: {name} is a list of {len(value)}; expected one text per study")
    raise DataError(f"{row.place}: {name} is {type(value).__name__}; expected a text, null or NaN")


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in fields), None)


def _needs_references(path: Path, rows: list[Row]) -> None:
    wanted = {"reference", "target", "section_findings", "section_impression"}
    if any(name in rows[0].fields for name in _PREDICTION[:2]):
        wanted.add("report")
    if not any(wanted & row.fields.keys() for row in rows):
        raise DataError(
            f"{path}: the file holds predictions only; give the references with --references "
            "or add a field 'reference' to every record"
        )


def _same_ids(path: Path, ids: list[str], other: Path, known: Mapping[str, object]) -> None:
    given = set(ids)
    problems = [
        f"{len(lost)} {what}: {', '.join(lost[:5])}{' …' if len(lost) > 5 else ''}"
        for what, lost in (
            ("have no reference", [study for study in ids if study not in known]),
            ("have no prediction", [study for study in known if study not in given]),
        )
        if lost
    ]
    if problems:
        raise DataError(
            f"{path} and {other} hold different studies: {'; '.join(problems)}. "
            "Both files must have the same ids; write an empty prediction where the model gave none"
        )
