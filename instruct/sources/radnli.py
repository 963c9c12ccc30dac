"""RadNLI: pairs of MIMIC-CXR report sentences, and whether the first entails or contradicts the second.

Layout: https://physionet.org/content/radnli-report-inference (release 1.0.0): ``radnli_{dev,test}_v1.jsonl``. The
pairs do not say which study their sentences come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from instruct.errors import DataError
from instruct.sources.base import Files, Input, Options, Source, Table, column
from instruct.sources.files import decode_json_lines, read_json_lines

SPLITS = {"dev": "val", "test": "test"}
LABELS = ("entailment", "neutral", "contradiction")

_text = pa.string()
PAIRS = Table(
    "One row per sentence pair, in file order, val before test.",
    pa.schema(
        [
            column("pair", _text, "pair_id, unique within its file", False),
            column("split", _text, "val (the file of dev) or test", False),
            column("premise", _text, "sentence1: what is known", False),
            column("hypothesis", _text, "sentence2: what is to be judged", False),
            column("label", _text, "gold_label: entailment, neutral or contradiction", False),
            column("origin", _text, "file and line", False),
        ]
    ),
)


def read(files: Files, options: Options) -> dict[str, pa.Table]:
    """Read the pairs.

    Raises:
        DataError: a line is no JSON object, lacks a field, has an unknown label, or repeats an id.
    """
    parts = [PAIRS.schema.empty_table()]
    for name, split in SPLITS.items():
        (path,) = files[name]
        try:
            parts.append(_pairs(*decode_json_lines(path, _Pair), split, files.relative(path)))
        except (DataError, ValueError):
            _explain(path)
            raise
    return {"pairs": pa.concat_tables(parts)}


class _Pair(msgspec.Struct, gc=False):
    pair_id: str
    gold_label: str
    sentence1: str
    sentence2: str


def _pairs(lines: Sequence[int], records: Sequence[_Pair], split: str, origin: str) -> pa.Table:
    """The pairs of a file; ValueError where something is not as it should be."""
    pairs, labels, premises, hypotheses = (list(map(attrgetter(field), records)) for field in _FIELDS)
    full = all(pairs) and all(premises) and all(hypotheses)
    if not full or set(labels) - set(LABELS) or len(set(pairs)) < len(pairs):
        raise ValueError("an empty text, an unknown label or a repeated id")
    columns = [
        pa.array(pairs, _text),
        pa.repeat(pa.scalar(split, _text), len(pairs)),
        pa.array(premises, _text),
        pa.array(hypotheses, _text),
        pa.array(labels, _text),
        pc.binary_join_element_wise(origin, pa.array(lines, pa.int32()).cast(_text), ":"),
    ]
    return pa.table(columns, schema=PAIRS.schema)


_FIELDS = ("pair_id", "gold_label", "sentence1", "sentence2")


def _explain(path: Path) -> None:
    """Name the first line that is not of the published form."""
    seen: dict[str, int] = {}
    for line, record in read_json_lines(path):
        for field in _FIELDS:
            if not isinstance(record.get(field), str) or not record[field]:
                raise DataError(
                    f"{path}:{line}: {field} is {record.get(field)!r}; expected a text in each of {', '.join(_FIELDS)} "
                    "(MedNLI's files have other fields)"
                )
        if record["gold_label"] not in LABELS:
            raise DataError(f"{path}:{line}: gold_label is {record['gold_label']!r}; expected {', '.join(LABELS)}")
        pair = record["pair_id"]
        if pair in seen:
            raise DataError(f"{path}:{line}: pair_id {pair!r} stands also on line {seen[pair]}")
        seen[pair] = line


_OBTAIN = "Sign the agreement of radnli-report-inference on PhysioNet (credentialed access) and download it."

SOURCE = Source(
    name="radnli",
    title="RadNLI",
    homepage="https://physionet.org/content/radnli-report-inference",
    folders=("radnli", "RadNLI", "radnli-report-inference", "physionet.org/files/radnli-report-inference"),
    inputs=tuple(
        Input(name, tuple(f"{folder}radnli_{name}_v1.jsonl" for folder in ("", "1.0.0/", "*/")), _OBTAIN)
        for name in SPLITS
    ),
    image_folders=("images",),
    tables={"pairs": PAIRS},
    read=read,
)
