"""The columns of a shard: what records and their wordings become, without a Python object for a row."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.buffers import copied
from instruct.build.image_table import ImageTable
from instruct.build.job import Job
from instruct.build.schema import shard_schema
from instruct.prompts.render import Rendered
from instruct.specs.contract import CONTRACT_NAMES, namespaces


def rows_of(job: Job, rendered: Rendered, records: pa.RecordBatch) -> pa.RecordBatch:
    """The rows of a shard that rendered records make.

    Args:
        job: their job.
        rendered: what was said of each, and by which variant.
        records: the records that were rendered.

    Returns:
        Rows of :func:`instruct.build.schema.shard_schema`, in the records' order.
    """
    schema = shard_schema()
    kept = records.select([name for name in records.schema.names if name in CONTRACT_NAMES])
    if len(rendered.rows) != len(records) or job.variants != 1:
        kept = kept.take(pa.array(rendered.rows))
    count = len(kept)

    variants = pa.array(rendered.variants, pa.int32())
    record = copied(kept.column("id"))
    identifier = record
    if job.variants != 1:
        identifier = pc.binary_join_element_wise(identifier, variants.cast(pa.string()), "#")
    namespace, image_namespace = namespaces(kept, job.namespace)
    paths = kept.column("images") if "images" in kept.schema.names else _empty_lists(count, pa.string())
    image_keys = _prefixed(image_namespace, paths)
    keys = pa.StructArray.from_arrays(
        [
            record,
            _below(namespace, kept.column("patient")),
            _prefixed(namespace, kept.column("studies")),
            image_keys,
        ],
        fields=list(schema.field("keys").type),
    )

    def lists(name: str) -> pa.ListArray:
        if name in kept.schema.names:
            return copied(kept.column(name))
        return _empty_lists(count, schema.field(name).type.value_type)

    provenance = pa.StructArray.from_arrays(
        [
            copied(kept.column("origin")),
            _constant(job.template.name, count),
            _constant(job.template.digest[:16], count),
            variants,
            _constant(job.spec_digest[:16], count),
        ],
        fields=list(schema.field("provenance").type),
    )
    columns = [
        identifier,
        _constant(job.task, count),
        _constant(job.dataset, count),
        _images(job, image_namespace, paths, image_keys, schema.field("images").type.value_type),
        rendered.conversations.messages,
        rendered.conversations.conversations,
        lists("regions"),
        lists("options"),
        lists("answers"),
        keys,
        provenance,
    ]
    return pa.record_batch(columns, schema=schema)


def _constant(value: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(value, pa.string()), count)


def _empty_lists(count: int, kind: pa.DataType) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(np.zeros(count + 1, np.int32)), pa.array([], kind))


def _below(folders: pa.Array, names: pa.Array, rows: pa.Array | None = None) -> pa.Array:
    """Each name with a folder and a slash before it.

    Args:
        folders: folders, none null.
        names: names.
        rows: the folder of each name; by default its own.
    """
    if len(folders) and pc.all(pc.equal(folders, folders[0])).as_py():  # nearly always, and three times as fast
        return pc.binary_replace_slice(names, 0, 0, f"{folders[0]}/")
    return pc.binary_join_element_wise(folders if rows is None else folders.take(rows), names, "/")


def _prefixed(folders: pa.Array, lists: pa.ListArray) -> pa.ListArray:
    """Each text of each list, with its row's folder and a slash before it."""
    return _relist(lists, _below(folders, lists.flatten(), pc.list_parent_indices(lists)))


def _relist(lists: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """Lists of the lengths of others, over new values."""
    lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0))
    offsets = np.zeros(len(lists) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)


def _images(job: Job, namespace: pa.Array, paths: pa.ListArray, keys: pa.ListArray, kind: pa.DataType) -> pa.ListArray:
    flat = paths.flatten()
    if job.store != "reference":
        flat = keys.flatten()
    elif job.image_roots:
        roots = namespace
        for name, root in job.image_roots.items():
            roots = pc.if_else(pc.equal(namespace, name), root.rstrip(os.sep), roots)
        flat = _below(roots, flat, pc.list_parent_indices(paths))
    embedded = job.store == "embed"
    content = pa.array(_embedded(job, namespace, paths), pa.binary()) if embedded else pa.nulls(len(flat), pa.binary())
    return _relist(paths, pa.StructArray.from_arrays([content, flat], fields=list(kind)))


def _embedded(job: Job, namespace: pa.Array, paths: pa.ListArray) -> list[bytes]:
    """The stored image of each path."""
    held_by = namespace.take(pc.list_parent_indices(paths)).to_pylist()
    return [
        _table(job.tables[name]).data(path).to_pybytes()
        for name, path in zip(held_by, paths.flatten().to_pylist(), strict=True)
    ]


@lru_cache(maxsize=8)
def _table(files: tuple[str, ...]) -> ImageTable:
    return ImageTable([Path(file) for file in files])
