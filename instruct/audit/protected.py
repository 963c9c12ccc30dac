"""Evaluation sets that must not be trained on: ``data/protected.yaml``, and how their keys and rows are known."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from instruct.audit.overlaps import KeyIndex
from instruct.audit.shards import Group, read
from instruct.model import StrictModel
from instruct.specs.task_spec import Split
from instruct.specs.yaml_file import load_yaml


class ProtectedSet(StrictModel):
    """An evaluation set; what its fields mean stands at the top of the data file."""

    name: str
    taken_from: str = Field(alias="from", min_length=1)
    namespace: str | None = None
    prefix: str = ""
    studies: list[int] = Field(default_factory=list)
    images: list[str] = Field(default_factory=list)
    official: Split | None = None
    source: str | None = None
    origin: str = ""


class _File(StrictModel):
    sets: list[ProtectedSet]


@cache
def protected_sets() -> list[ProtectedSet]:
    """The shipped sets."""
    with as_file(files("instruct.audit") / "data" / "protected.yaml") as path:
        return load_yaml(path).validate(_File).sets


def protected_studies(official: pa.Table) -> pa.Table:
    """Studies of all sets that are known by study: columns ``key`` and ``label``, the set's name.

    Args:
        official: studies of the owners' own splits, as :func:`instruct.audit.official.official_splits` gives them.
    """
    tables = [_LABELLED.empty_table()]
    for item in protected_sets():
        keys = pa.array([f"{item.namespace}/{item.prefix}{number}" for number in item.studies], pa.string())
        if item.official is not None:
            mine = pc.and_(
                pc.starts_with(official["key"], f"{item.namespace}/"), pc.equal(official["split"], item.official)
            )
            keys = official["key"].filter(mine).combine_chunks()
        tables.append(_labelled(keys, item.name))
    return pa.concat_tables(tables)


def image_beginnings(item: ProtectedSet) -> pa.Array:
    """What the image keys of a set begin with; empty where it is not known by image."""
    return pa.array([f"{item.namespace}/{start}" for start in item.images], pa.string())


_LABELLED = pa.schema([("key", pa.string()), ("label", pa.string())])


def _labelled(keys: pa.Array, label: str) -> pa.Table:
    return pa.table([keys, pa.repeat(pa.scalar(label), len(keys))], schema=_LABELLED)


def rows_of(item: ProtectedSet, group: Group) -> list[str]:
    """Studies of a group's examples that are a set's own rows, in order; its record for one without a study."""
    if item.source != group.source:
        return []
    found: set[str] = set()
    for file in group.files:
        for batch in read(file, ["keys", "provenance"]):
            mine = pc.starts_with(batch.column("provenance").field("origin"), item.origin)
            keys = batch.column("keys").filter(mine)
            found.update(pc.unique(keys.field("studies").flatten()).to_pylist())
            bare = keys.filter(pc.equal(pc.list_value_length(keys.field("studies")), 0))
            found.update(bare.field("record").to_pylist())
    return sorted(found)


def in_training(index: KeyIndex, official: pa.Table, limit: int | None) -> list[tuple[str, int, str, int, list[str]]]:
    """Protected sets of which something is in train.

    Returns:
        Per set and group: name of the set, place of the group, kind of key, number of keys, and the first of them.
    """
    images = pa.concat_tables(
        [_LABELLED.empty_table()]
        + [_labelled(index.below(image_beginnings(item)), item.name) for item in protected_sets() if item.images]
    )
    found: dict[tuple[int, str], tuple[str, int, list[str]]] = {}
    for kind, given in (("study", protected_studies(official)), ("image", images)):
        for (place, name), count in index.ask(kind, given).items():
            if index.groups[place].split == "train":
                found[place, name] = (kind, count, index.asked(kind, place, name, limit))
    for place, group in enumerate(index.groups):
        for item in protected_sets():
            if group.split == "train" and (keys := rows_of(item, group)):
                found[place, item.name] = ("study", len(keys), keys[:limit])
    order = [item.name for item in protected_sets()]
    return [
        (name, place, *found[place, name]) for place, name in sorted(found, key=lambda at: (at[0], order.index(at[1])))
    ]
