"""The Arrow schema of a shard: what every example holds, and how Hugging Face ``datasets`` is told of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from instruct.prompts.conversation import CONVERSATIONS_TYPE, MESSAGES_TYPE
from instruct.specs.contract import REGIONS_TYPE

SCHEMA_VERSION = 1

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
KEYS_TYPE = pa.struct(
    [
        ("record", pa.string()),  # the record an example words; several examples of one record differ in variant
        ("patient", pa.string()),  # namespace/patient, or null
        ("studies", pa.list_(pa.string())),  # namespace/study
        ("images", pa.list_(pa.string())),  # namespace/path, as long as `images`
    ]
)
PROVENANCE_TYPE = pa.struct(
    [
        ("origin", pa.string()),  # published file, and row in it
        ("template", pa.string()),
        ("template_digest", pa.string()),
        ("variant", pa.int32()),
        ("spec_digest", pa.string()),
    ]
)

COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("id", pa.string()),
    ("task", pa.string()),
    ("dataset", pa.string()),
    ("images", pa.list_(IMAGE_TYPE)),
    ("messages", MESSAGES_TYPE),
    ("conversations", CONVERSATIONS_TYPE),
    ("regions", REGIONS_TYPE),
    ("options", pa.list_(pa.string())),  # choices, in the order shown
    ("answers", pa.list_(pa.string())),  # right choices, or accepted answers
    ("keys", KEYS_TYPE),
    ("provenance", PROVENANCE_TYPE),
)

_VALUES = {
    pa.string(): "string",
    pa.int32(): "int32",
    pa.int64(): "int64",
    pa.uint64(): "uint64",
    pa.bool_(): "bool",
    pa.float64(): "float64",
    pa.binary(): "binary",
}


def features() -> dict[str, Any]:
    """The columns as ``datasets`` features."""
    return features_of(COLUMNS)


def features_of(columns: Iterable[tuple[str, pa.DataType]]) -> dict[str, Any]:
    """Columns as ``datasets`` features, in the notation that versions 3.6 to 5 all read."""
    return {name: _feature(kind) for name, kind in columns}


def _feature(kind: pa.DataType) -> Any:
    if kind == IMAGE_TYPE:
        return {"_type": "Image"}
    if pa.types.is_list(kind):
        return [_feature(kind.value_type)]
    if pa.types.is_struct(kind):
        return {child.name: _feature(child.type) for child in kind}
    return {"dtype": _VALUES[kind], "_type": "Value"}


def shard_schema() -> pa.Schema:
    """Schema of every shard, with the metadata that ``datasets`` and this package read."""
    return schema_of(COLUMNS)


def schema_of(columns: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    """Schema of some columns, with the same metadata."""
    metadata = {
        "huggingface": json.dumps({"info": {"features": features_of(columns)}}, sort_keys=True),
        "cxr_instruct": json.dumps({"schema_version": SCHEMA_VERSION}),
    }
    return pa.schema([pa.field(name, kind) for name, kind in columns], metadata=metadata)
