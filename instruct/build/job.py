"""A job: one shard's worth of records and all that decides its bytes. :func:`run` is the pure function of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from instruct.buffers import copied
from instruct.build.files import writing
from instruct.build.image_table import ImageTable
from instruct.build.schema import shard_schema
from instruct.digest import digest_code, digest_json
from instruct.prompts.render import Fault, Rendered, choose_variants, render_records
from instruct.prompts.source import TemplateSource
from instruct.prompts.template import CompiledTemplate, compile_template
from instruct.specs.contract import CONTRACT_NAMES, VARIANT_HASH, namespaces

# Records rendered together, and rows of a record batch in the shard: enough to forget the cost of a call, few enough
# to need little memory.
_BATCH_ROWS = 5000
_WRITE_BYTES = 1 << 18
# The same where images are embedded: a batch then holds their bytes.
_EMBED_ROWS = 100
_CODE = tuple(
    f"instruct.{name}"
    for name in (
        "buffers", "build.image_table", "build.job", "build.schema", "polygons",
        "prompts.conversation", "prompts.dialect",
        "prompts.environment", "prompts.filters",
        "prompts.language", "prompts.layout", "prompts.marks", "prompts.menu", "prompts.notation", "prompts.render",
        "prompts.template",
        "regions", "specs.contract", "specs.records",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """Plain data that decides one shard.

    Attributes:
        config: configuration (task and dataset) that the shard belongs to.
        split: train, val or test.
        task: name of the task.
        dataset: name of the dataset.
        namespace: source that the records' keys belong to, where a record does not name its own.
        records: file of the task's records (Arrow IPC file), or the batch itself.
        batch: which batch of the file.
        rows: number of records in the batch.
        records_digest: digest of the batch.
        template: the template, with all it imports.
        variants: variants per record.
        image_roots: namespace to the folder that image paths are written below; none writes relative paths.
        dialect: how regions are printed.
        spec_digest: digest of the task's part of its spec.
        seed: seed of the recipe.
        store: whether images are referred to by path, by their place in an images table, or embedded.
        tables: namespace to the shards of its images table, where images are embedded.
        tables_digest: digest of these tables; empty where images are not embedded.
    """

    config: str
    split: str
    task: str
    dataset: str
    namespace: str
    records: str | pa.RecordBatch
    batch: int
    rows: int
    records_digest: str
    template: TemplateSource
    variants: int | Literal["all"]
    image_roots: Mapping[str, str]
    dialect: str
    spec_digest: str
    seed: int
    store: Literal["reference", "pack", "embed"] = "reference"
    tables: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tables_digest: str = ""

    @property
    def label(self) -> str:
        """Name of the job in messages."""
        return f"{self.config} {self.split} batch {self.batch}"

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides the shard's bytes, by name; the key is its digest."""
        return {
            "config": self.config,
            "split": self.split,
            "names": [self.task, self.dataset, self.namespace],
            "records": self.records_digest,
            "template": self.template.digest,
            "variants": self.variants,
            "image_roots": dict(self.image_roots),
            "dialect": self.dialect,
            "spec": self.spec_digest,
            "seed": self.seed,
            "images": [self.store, self.tables_digest],
            "code": code_digest(),
        }

    @property
    def key(self) -> str:
        """Content address of the shard."""
        return digest_json(self.facts)

    def loaded(self) -> Job:
        """The same job, holding its records itself."""
        with _open(self.records, self.batch) as records:
            return replace(self, records=records)


@contextmanager
def _open(records: str | pa.RecordBatch, batch: int) -> Iterator[pa.RecordBatch]:
    if isinstance(records, str):
        with pa.memory_map(records) as file:
            yield pa.ipc.open_file(file).get_batch(batch)
    else:
        yield records


@dataclass(frozen=True)
class ShardResult:
    """What running a job gave.

    Attributes:
        key: the job's key.
        facts: the job's facts.
        records: records that made examples.
        examples: examples written.
        bytes: size of the shard file.
        sha256: digest of the shard file.
        bad: records left out: id, reason, detail and origin of each.
    """

    key: str
    facts: dict[str, Any]
    records: int
    examples: int
    bytes: int
    sha256: str
    bad: list[dict[str, str]]


@cache
def code_digest() -> str:
    """Digest of the code that renders and writes, and of the libraries whose release can change the bytes."""
    from importlib.metadata import version

    libraries = {name: version(name).split(".")[:2] for name in ("jinja2", "pyarrow")}
    return digest_json([digest_code(_CODE), libraries])


def run(job: Job, staged: Path) -> ShardResult:
    """Render a job's records and write its shard.

    Args:
        job: the job.
        staged: file to write; it appears whole or not at all.

    Raises:
        SpecError: the template places other images than the records have.
        OSError: the shard cannot be written.
    """
    template = compile_template(job.template, job.dialect)
    examples, bad = 0, []
    with _open(job.records, job.batch) as records, writing(staged) as shard:
        with (
            pa.BufferedOutputStream(pa.PythonFile(shard, "w"), _WRITE_BYTES) as sink,  # many pieces are eight bytes
            pa.ipc.new_stream(sink, shard_schema()) as writer,
        ):
            rows = _EMBED_ROWS if job.store == "embed" else _BATCH_ROWS
            for start in range(0, len(records), rows):
                piece = records.slice(start, rows)
                rendered = _render(job, template, piece)
                batch = _examples(job, rendered, piece)
                examples += len(batch)
                bad += [_bad(piece, fault) for fault in rendered.faults]
                writer.write_batch(batch)
        count = len(records)
    return ShardResult(
        key=job.key,
        facts=job.facts,
        records=count - len(bad),
        examples=examples,
        bytes=shard.size,
        sha256=shard.sha256,
        bad=bad,
    )


def _bad(records: pa.RecordBatch, fault: Fault) -> dict[str, str]:
    return {
        "id": records.column("id")[fault.row].as_py(),
        "reason": str(fault.reason),
        "detail": fault.detail,
        "origin": records.column("origin")[fault.row].as_py(),
    }


def _render(job: Job, template: CompiledTemplate, records: pa.RecordBatch) -> Rendered:
    if "images" in records.schema.names:
        counts = np.asarray(pc.list_value_length(records.column("images")), np.int64)
    else:
        counts = np.zeros(len(records), np.int64)
    hashes = np.asarray(records.column(VARIANT_HASH))
    return render_records(template, records, counts, choose_variants(hashes, template.weights, job.variants))


def _examples(job: Job, rendered: Rendered, records: pa.RecordBatch) -> pa.RecordBatch:
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
