"""For the rows of small sources: what was planted against what was built, and a look at the examples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from instruct import synth
from instruct.build.build import BuildResult
from instruct.sources import get_source
from instruct.specs.task_spec import TaskEntry, load_task_specs
from instruct.synth.planted import Planted
from tests.rows import linked


def write_and_build(root: Path, source: str, studies: int, seed: int = 0) -> tuple[Planted, BuildResult]:
    """Write a corpus and build its rows."""
    planted = synth.write(source, root / "data" / source, studies=studies, seed=seed)
    return planted, linked.build(root, source)


def assert_as_planted(planted: Planted, result: BuildResult) -> None:
    """Every number of every row is the planted one."""
    assert set(result.counts.rows) == set(planted.counts)
    for row, splits in planted.counts.items():
        for split, counts in splits.items():
            found = result.counts.rows[row][split]
            wanted = (counts.examples, counts.images, counts.studies)
            assert (found.examples, found.images, found.studies) == wanted, (row, split)


def the_task(source: str) -> TaskEntry:
    """The task of a source that has one."""
    (entry,) = [entry for entry in load_task_specs() if entry.spec.source == source]
    return entry


def records(root: Path, source: str, task: str) -> dict[str, dict[str, Any]]:
    """Records of a task by id, over corpora below a root, each in the folder of its name."""
    (entry,) = [e for e in load_task_specs() if e.spec.source == source and e.task.task == task]
    tables = {}
    for name in (source, *entry.spec.reads):
        read = get_source(name)
        tables[name] = read.tables_of(read.find(root / name), read.options())
    return linked.records(tables, task, source)


def examples(result: BuildResult) -> Iterator[dict[str, Any]]:
    """Every example of a build."""
    for shard in sorted(result.out.glob("*/*/arrow/*.arrow")):
        with pa.memory_map(str(shard)) as file:
            yield from pa.ipc.open_stream(file).read_all().to_pylist()


def prompt_and_answer(example: dict[str, Any]) -> tuple[str, str]:
    """What the user and what the assistant says."""
    said = {turn["from"]: turn["value"] for turn in example["conversations"]}
    return said["human"], said["gpt"]
