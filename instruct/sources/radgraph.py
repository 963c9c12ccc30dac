"""RadGraph 1.0: entities and relations that radiologists marked in 550 MIMIC-CXR and 50 CheXpert reports.

Layout: https://physionet.org/content/radgraph (release 1.0.0): ``{train,dev,test}.json``, one object each, report key
to report. The machine-made graphs of the release (over 1 GB) are not read. A MIMIC-CXR key is the path of the
report; a CheXpert key is a number without a published meaning.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.files import read_json

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

_Token = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
_FIELDS = ("tokens", "label", "start_ix", "end_ix", "relations")

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


class _Entity(msgspec.Struct, gc=False):
    tokens: str
    label: Literal["ANAT-DP", "OBS-DP", "OBS-U", "OBS-DA"]
    start_ix: _Token
    end_ix: _Token
    relations: list[tuple[str, str]]


class _Annotation(msgspec.Struct, gc=False):
    entities: dict[str, _Entity] | None = None


class _Report(msgspec.Struct, gc=False):
    text: str
    data_source: str | None = None
    entities: dict[str, _Entity] | None = None
    labeler_1: _Annotation | None = None
    labeler_2: _Annotation | None = None

    def annotations(self) -> dict[str, dict[str, _Entity]]:
        """Annotator to entities: they stand in the report itself, below each labeler, or in both places."""
        holders = zip(ANNOTATORS, (self, self.labeler_1, self.labeler_2), strict=True)
        return {name: holder.entities for name, holder in holders if holder and holder.entities is not None}


_DECODER = msgspec.json.Decoder(dict[str, _Report])


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the reports and their annotations.

    Raises:
        DataError: a file is not of RadGraph's form, a key stands in two files, a label is unknown, or a relation
            leads to no entity.
    """
    reports: list[tuple[str | None, ...]] = []
    marked: list[tuple[str, str, dict[str, _Entity]]] = []
    places: dict[str, str] = {}
    for name, split in SPLITS.items():
        (path,) = files[name]
        file, origin = path.name, files.relative(path)
        for key, record in _load(path).items():
            if key in places:
                raise DataError(f"{path}:1: report {key!r} stands also in {places[key]}")
            places[key] = file
            annotations = record.annotations()
            match = _MIMIC_KEY.fullmatch(key)
            source, study, patient = ("MIMIC-CXR", match[2], match[1]) if match else ("CheXpert", None, None)
            if (
                not annotations
                or record.data_source not in (None, source)
                or not all(map(_linked, annotations.values()))
            ):
                _explain_file(path)
            annotator = next(iter(annotations))
            reports.append((key, split, source, study, patient, record.text, annotator, f"{origin}:{key}"))
            marked += [(key, annotator, entities) for annotator, entities in annotations.items()]
    columns = zip(*reports, strict=True) if reports else [()] * len(REPORTS.schema)
    return {
        "reports": pa.table([pa.array(values, _text) for values in columns], schema=REPORTS.schema),
        "entities": _entities(marked),
    }


def _load(path: Path) -> dict[str, _Report]:
    try:
        return _DECODER.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        _explain_file(path)
        raise DataError(f"{path}:1: {error}") from None


def _linked(entities: dict[str, _Entity]) -> bool:
    """Whether every relation of an annotation leads to an entity of it."""
    return all(target in entities for entity in entities.values() for _, target in entity.relations)


def _entities(marked: Sequence[tuple[str, str, dict[str, _Entity]]]) -> pa.Table:
    """A row per entity of some annotations: report, annotator, entities by key."""
    keys = list(chain.from_iterable(entities for *_, entities in marked))
    values = list(chain.from_iterable(entities.values() for *_, entities in marked))
    holder = np.repeat(np.arange(len(marked)), [len(entities) for *_, entities in marked])
    tokens, labels, starts, ends, relations = (list(map(attrgetter(field), values)) for field in _FIELDS)
    order = pa.array(np.lexsort((np.array(ends, int), np.array(starts, int), holder)))
    pairs = list(chain.from_iterable(relations))
    offsets = pa.array(np.concatenate([[0], np.cumsum(list(map(len, relations)))]), pa.int32())
    parts = [pa.array([pair[part] for pair in pairs], _text) for part in (0, 1)]
    columns = [
        pa.array([report for report, *_ in marked], _text).take(pa.array(holder)),
        pa.array([annotator for _, annotator, _ in marked], _text).take(pa.array(holder)),
        pa.array(keys, _text),
        pa.array(labels, _text),
        pa.array(list(map(LABELS.__getitem__, labels)), _text),
        pa.array(tokens, _text),
        pa.array(starts, pa.int32()),
        pa.array(ends, pa.int32()),
        pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(parts, fields=list(RELATION))),
    ]
    return pa.table(columns, schema=ENTITIES.schema).take(order)


def _explain_file(path: Path) -> None:
    """Name the first report of a file that is not of the published form, if there is one."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}:1: expected {{report key: report}}, found {type(content).__name__}")
    for key, record in content.items():
        place = f"{path}:1: report {key!r}"
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise DataError(f"{place}: no text; expected an object with text, entities and data_source")
        holders = {"agreed": record, **{name: record.get(name) for name in ANNOTATORS[1:]}}
        annotations = {
            name: holder["entities"]
            for name, holder in holders.items()
            if isinstance(holder, dict) and isinstance(holder.get("entities"), dict)
        }
        if not annotations:
            raise DataError(
                f"{place}: no entities, neither in the report nor below labeler_1; it has {', '.join(record)}"
            )
        source = "MIMIC-CXR" if _MIMIC_KEY.fullmatch(key) else "CheXpert"
        if record.get("data_source") not in (None, source):
            raise DataError(
                f"{place}: data_source is {record['data_source']!r}, but the key is that of a {source} report; keys of "
                "MIMIC-CXR are paths such as p19/p19999999/s59999901.txt"
            )
        for name, entities in annotations.items():
            _explain(entities, f"{place}, {name}")


def _explain(entities: dict[str, Any], place: str) -> None:
    """Name the first entity of an annotation that is not of the published form, if there is one."""
    for entity, value in entities.items():
        at = f"{place}, entity {entity}"
        if not isinstance(value, dict):
            raise DataError(f"{at}: expected an object, found {type(value).__name__}")
        if value.get("label") not in LABELS:
            raise DataError(f"{at}: label is {value.get('label')!r}; expected {', '.join(LABELS)}")
        for field, kind in (("tokens", str), ("start_ix", int), ("end_ix", int), ("relations", list)):
            if not isinstance(value.get(field), kind) or (kind is int and not 0 <= value[field] < 2**31):
                raise DataError(f"{at}: {field} is {value.get(field)!r}; expected {_KINDS[kind]}")
        for relation in value["relations"]:
            if (
                not isinstance(relation, list)
                or [type(part) for part in relation] != [str, str]
                or relation[1] not in entities
            ):
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
    marks=(b'"entities"',),
    read=read,
)
