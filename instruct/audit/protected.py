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
    """Studies of all sets that are known by study: columns ``key`` and ``name``.

    Args:
        official: studies of the owners' own splits, as :func:`instruct.audit.official.official_splits` gives them.
    """
    tables = [pa.table({"key": pa.array([], pa.string()), "name": pa.array([], pa.string())})]
    for item in protected_sets():
        keys = pa.array([f"{item.namespace}/{item.prefix}{number}" for number in item.studies], pa.string())
        if item.official is not None:
            mine = pc.and_(
                pc.starts_with(official["key"], f"{item.namespace}/"), pc.equal(official["split"], item.official)
            )
            keys = official["key"].filter(mine).combine_chunks()
        tables.append(pa.table({"key": keys, "name": pa.repeat(pa.scalar(item.name), len(keys))}))
    return pa.concat_tables(tables)


def protected_images() -> pa.Table:
    """Beginnings of the image keys of sets that are known by image: columns ``key`` and ``name``."""
    rows = [(f"{item.namespace}/{start}", item.name) for item in protected_sets() for start in item.images]
    return pa.table({"key": [key for key, _ in rows], "name": [name for _, name in rows]})


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
    studies, images = protected_studies(official), protected_images()
    found = []
    for place, group in enumerate(index.groups):
        if group.split != "train":
            continue
        for item in protected_sets():
            if item.source is not None:
                keys = rows_of(item, group)
                if keys:
                    found.append((item.name, place, "study", len(keys), keys[:limit]))
                continue
            kind, given, condition = (
                ("image", images, "EXISTS (FROM given WHERE starts_with(held.key, given.key))")
                if item.images
                else ("study", studies, "key IN (SELECT key FROM given)")
            )
            mine = given.filter(pc.equal(given["name"], item.name))
            if not len(mine):
                continue
            count, first = index.held_of(place, kind, condition, mine, limit)
            if count:
                found.append((item.name, place, kind, count, first))
    return found
