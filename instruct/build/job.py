"""A job: one shard's worth of records and all that decides its bytes; :func:`instruct.build.run_job.run` makes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import pyarrow as pa

from instruct.digest import digest_code, digest_json
from instruct.prompts.source import TemplateSource

_CODE = tuple(
    f"instruct.{name}"
    for name in (
        "buffers", "build.image_table", "build.job", "build.run_job", "build.schema", "build.shard_rows", "polygons",
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
        with open_records(self.records, self.batch) as records:
            return replace(self, records=records)


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


@contextmanager
def open_records(records: str | pa.RecordBatch, batch: int) -> Iterator[pa.RecordBatch]:
    """A job's records, mapped from their file or as they are.

    Args:
        records: see :class:`Job`.
        batch: see :class:`Job`.
    """
    if isinstance(records, str):
        with pa.memory_map(records) as file:
            yield pa.ipc.open_file(file).get_batch(batch)
    else:
        yield records
