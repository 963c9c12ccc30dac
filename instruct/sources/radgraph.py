"""RadGraph 1.0: entities and relations that radiologists marked in 550 MIMIC-CXR and 50 CheXpert reports.

Layout: https://physionet.org/content/radgraph (release 1.0.0): ``{train,dev,test}.json``, one object each, report key
to report. The machine-made graphs of the release (over 1 GB) are not read. A MIMIC-CXR key is the path of the
report; a CheXpert key is a number without a published meaning.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.files import collector_paused, read_json

SPLITS = {"train": "train", "dev": "val", "test": "test"}
LABELS = {
    "ANAT-DP": "anatomy",
    "OBS-DP": "observation (definitely present)",
    "OBS-U": "observation (uncertain)",
    "OBS-DA": "observation (definitely absent)",
}
"""Entity labels of the release, and what they stand for."""
ANNOTATORS = ("agreed", "labeler_1", "labeler_2")
"""Whose annotation it is; a report's first in this order counts."""

_MIMIC_KEY = re.compile(r"(?:(?:.*/)?(p\d{8})/)?(s\d{8})(?:\.txt)?")

_text = pa.string()
REPORTS = Table(
    "One row per report, in file order, train before val before test.",
    pa.schema(
        [
            column("report", _text, "key of the report", False),
            column("release_split", _text, "train, val (the file dev.json) or test of the release", False),
            column("data_source", _text, "MIMIC-CXR or CheXpert", False),
            column("study", _text, "MIMIC-CXR study, s and its number; null for CheXpert reports"),
            column("patient", _text, "MIMIC-CXR patient, p and its number; null for CheXpert reports and bare keys"),
            column("text", _text, "the report, its tokens separated by single blanks", False),
            column("annotator", _text, "whose annotation counts: agreed, or labeler_1 where there are two", False),
            column("origin", _text, "file and key of the report", False),
        ]
    ),
)

# Report, annotator, entities by key, and place of an annotation.
_Marked = tuple[str, str, dict[str, Any], str]

RELATION = pa.struct([("type", _text), ("target", _text)])
ENTITIES = Table(
    "One row per entity and annotator, in the order of the text.",
    pa.schema(
        [
            column("report", _text, "key of the report", False),
            column("annotator", _text, "agreed, labeler_1 or labeler_2", False),
            column("entity", _text, "key of the entity in its annotation", False),
            column("label", _text, "ANAT-DP, OBS-DP, OBS-U or OBS-DA", False),
            column("meaning", _text, "what the label stands for", False),
            column("tokens", _text, "the words, separated by blanks", False),
            column("start", pa.int32(), "number of the first token, from 0", False),
            column("end", pa.int32(), "number of the last token", False),
            column("relations", pa.list_(RELATION), "modify, located_at or suggestive_of, and to which entity", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the reports and their annotations.

    Raises:
        DataError: a file is not of RadGraph's form, a key stands in two files, a label is unknown, or a relation
            leads to no entity.
    """
    with collector_paused():
        return _read(files)


def _read(files: Files) -> dict[str, pa.Table]:
    reports: list[tuple[Any, ...]] = []
    marked: list[_Marked] = []
    places: dict[str, str] = {}
    for name, split in SPLITS.items():
        (path,) = files[name]
        origin = files.relative(path)
        content = read_json(path)
        if not isinstance(content, dict):
            raise DataError(f"{path}:1: expected {{report key: report}}, found {type(content).__name__}")
        for key, record in content.items():
            place = f"{path}:1: report {key!r}"
            if key in places:
                raise DataError(f"{place} stands also in {places[key]}")
            places[key] = path.name
            annotations = _annotations(record, place)
            source, study, patient = _identity(key, record, place)
            annotator = next(iter(annotations))
            reports.append((key, split, source, study, patient, record["text"], annotator, f"{origin}:{key}"))
            marked += [(key, name, entities, f"{place}, {name}") for name, entities in annotations.items()]
    columns = zip(*reports, strict=True) if reports else [()] * len(REPORTS.schema)
    return {
        "reports": pa.table([pa.array(values, _text) for values in columns], schema=REPORTS.schema),
        "entities": _entities(marked),
    }


def _annotations(record: Any, place: str) -> dict[str, dict[str, Any]]:
    """Annotator to entities: they stand in the report itself, below each labeler, or in both places."""
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise DataError(f"{place}: no text; expected an object with text, entities and data_source")
    holders = {"agreed": record, **{name: record.get(name) for name in ANNOTATORS[1:]}}
    annotations = {
        name: holder["entities"]
        for name, holder in holders.items()
        if isinstance(holder, dict) and isinstance(holder.get("entities"), dict)
    }
    if not annotations:
        raise DataError(f"{place}: no entities, neither in the report nor below labeler_1; it has {', '.join(record)}")
    return annotations


def _identity(key: str, record: dict[str, Any], place: str) -> tuple[str, str | None, str | None]:
    """Data source, study and patient of a report."""
    match = _MIMIC_KEY.fullmatch(key)
    said = record.get("data_source")
    source = "MIMIC-CXR" if match else "CheXpert"
    if said is not None and said != source:
        raise DataError(
            f"{place}: data_source is {said!r}, but the key is that of a {source} report; keys of MIMIC-CXR are paths "
            "such as p19/p19999999/s59999901.txt"
        )
    return (source, match[2], match[1]) if match else (source, None, None)


def _entities(marked: list[_Marked]) -> pa.Table:
    rows: list[tuple[Any, ...]] = []
    relations: list[list[list[str]]] = []
    for key, annotator, entities, place in marked:
        try:
            ordered = sorted(entities.items(), key=lambda item: (item[1]["start_ix"], item[1]["end_ix"]))
            for entity, value in ordered:
                label = value["label"]
                rows.append(
                    (key, annotator, entity, label, LABELS[label], value["tokens"], value["start_ix"], value["end_ix"])
                )
                relations.append(value["relations"])
                for _, target in value["relations"]:
                    entities[target]
        except (KeyError, TypeError, ValueError):
            _explain(entities, place)
            raise
    columns = list(zip(*rows, strict=True)) if rows else [()] * 8
    kinds = [field.type for field in ENTITIES.schema]
    flat = list(chain.from_iterable(relations))
    pairs = pa.StructArray.from_arrays(
        [pa.array([relation[part] for relation in flat], _text) for part in (0, 1)], fields=list(RELATION)
    )
    offsets = pa.array(np.concatenate([[0], np.cumsum(list(map(len, relations)))]), pa.int32())
    try:
        arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=False)]
    except pa.ArrowException:
        for _, _, entities, place in marked:
            _explain(entities, place)
        raise
    return pa.table([*arrays, pa.ListArray.from_arrays(offsets, pairs)], schema=ENTITIES.schema)


def _explain(entities: dict[str, Any], place: str) -> None:
    """Name the first entity of an annotation that is not of the published form."""
    for entity, value in entities.items():
        at = f"{place}, entity {entity}"
        if not isinstance(value, dict):
            raise DataError(f"{at}: expected an object, found {type(value).__name__}")
        if value.get("label") not in LABELS:
            raise DataError(f"{at}: label is {value.get('label')!r}; expected {', '.join(LABELS)}")
        for field, kind in (("tokens", str), ("start_ix", int), ("end_ix", int), ("relations", list)):
            if not isinstance(value.get(field), kind):
                raise DataError(f"{at}: {field} is {value.get(field)!r}; expected {_KINDS[kind]}")
        for relation in value["relations"]:
            if not isinstance(relation, list) or len(relation) != 2 or relation[1] not in entities:
                raise DataError(f"{at}: relation {relation!r} leads to no entity; expected [type, key of an entity]")


_KINDS = {str: "a text", int: "the number of a token", list: "a list of [type, key of an entity]"}


_OBTAIN = "Sign the agreement of radgraph on PhysioNet (credentialed access) and download it."

SOURCE = Source(
    name="radgraph",
    title="RadGraph",
    homepage="https://physionet.org/content/radgraph",
    folders=("radgraph", "RadGraph", "physionet.org/files/radgraph"),
    inputs=tuple(
        Input(name, (f"{name}.json", f"1.0.0/{name}.json", f"radgraph/{name}.json"), _OBTAIN) for name in SPLITS
    ),
    image_folders=("images",),
    tables={"reports": REPORTS, "entities": ENTITIES},
    read=read,
    modules=("instruct.sources.radgraph",),
)
