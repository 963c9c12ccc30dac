"""For the rows of sources of their own: corpora built, records by id, and the expectations of real files."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from instruct import synth
from instruct.api import build_dataset
from instruct.build.roots import find_root
from instruct.sources import get_source
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskEntry, load_task_specs


def build(root: Path, source: str, options: str = "{}", missing: str = "drop"):
    """Build the rows of a source that lies in ``root/data/<source>``."""
    recipe = root / "recipe.yaml"
    recipe.write_text(
        f"name: rows\nsources: {{{source}: {{options: {options}}}}}\nimages: {{missing: {missing}}}\nmax_bad: 0\n"
    )
    return build_dataset(recipe, root / "out", data_root=root / "data")


def assert_as_planted(built, planted) -> None:
    """Every number of every row is the planted one."""
    rows = built.counts.rows
    assert set(rows) == set(planted.counts)
    for name, splits in planted.counts.items():
        for split, wanted in splits.items():
            found = rows[name][split]
            assert (found.examples, found.images, found.studies) == (
                wanted.examples,
                wanted.images,
                wanted.studies,
            ), (name, split)


def read(root: Path, source: str, **options: Any) -> dict[str, pa.Table]:
    """The tables of a source's files below a folder."""
    reader = get_source(source)
    return reader.tables_of(reader.find(root), reader.options(**options))


def corpus(root: Path, source: str, studies: int, **extra: Any):
    """Write a corpus without images and read it: what was planted, and the tables."""
    from importlib import import_module

    planted = import_module(synth.SOURCES[source]).write(root / source, studies=studies, images=False, **extra)
    return planted, read(root / source, source)


def records(tables: dict[str, pa.Table], source: str, task: str, fields: tuple[str, ...] = (), **settings: Any):
    """Records of a task by id."""
    with RecordQueries(get_source(source), {source: tables}, **settings) as queries:
        batches = list(queries.records(entry_of(source, task), list(fields), 50_000))
    found = [row for batch in batches for row in batch.to_pylist()]
    return {row["id"]: row for row in found}


def numbers(tables: dict[str, pa.Table], entry: TaskEntry) -> dict[str, int]:
    """Records of a task by split, of many rows."""
    found = dict.fromkeys(("train", "val", "test"), 0)
    with RecordQueries(get_source(entry.spec.source), {entry.spec.source: tables}) as queries:
        for batch in queries.records(entry, [], 50_000):
            found[batch["split"][0].as_py()] += len(batch)
    return found


def entry_of(source: str, task: str) -> TaskEntry:
    """A task of a source."""
    (entry,) = [entry for entry in load_task_specs() if entry.spec.source == source and entry.task.task == task]
    return entry


def assert_expected_of_real_files(shared_data: Path, source: str, tasks: tuple[str, ...]) -> None:
    """Some tasks give what their spec expects of the full release; skipped where it is not on disk."""
    reader = get_source(source)
    root = find_root(reader, shared_data)
    if root is None:
        pytest.skip(f"{source} is not in {shared_data}")
    tables = reader.tables_of(reader.find(root), reader.options())
    for task in tasks:
        entry = entry_of(source, task)
        found = numbers(tables, entry)
        assert found == found | entry.task.expect, task
