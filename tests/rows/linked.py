"""For the rows of sources that are about MIMIC-CXR studies: corpora, builds and records."""

from pathlib import Path

import pyarrow as pa

from instruct import synth
from instruct.api import build_dataset
from instruct.sources import get_source
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import load_task_specs

MIMIC = get_source("mimic_cxr")


def build(root: Path, source: str, options: str = "{}"):
    """Build the rows of a source from the corpora below ``root``."""
    recipe = root / "recipe.yaml"
    recipe.write_text(
        f"name: linked\nsources: {{{source}: {{options: {options}}}}}\nimages: {{missing: drop}}\nmax_bad: 0\n"
    )
    return build_dataset(recipe, root / "out", data_root=root / "data")


def assert_counts_as_planted(root: Path, source: str, studies: int, seed: int) -> None:
    """Write a corpus and build its rows: every number must be the planted one, and the published splits filled."""
    planted = synth.write(source, root / "data" / source, studies=studies, seed=seed)
    rows = build(root, source).counts.rows
    assert set(rows) == set(planted.counts)
    for name, splits in planted.counts.items():
        for split, counts in splits.items():
            found = rows[name][split]
            wanted = (counts.examples, counts.images, counts.studies)
            assert (found.examples, found.images, found.studies) == wanted, (name, split)
            assert (counts.examples > 0) == (split == "test" or "Sentence" not in name), (name, split)


def corpus_tables(root: Path, source: str, studies: int = 60, **options):
    """Tables of a synthetic corpus and of the MIMIC-CXR it is about."""
    synth.write(source, root / source, studies=studies, images=False)
    read = get_source(source)
    return {
        source: read.tables_of(read.find(root / source), read.options(**options)),
        "mimic_cxr": MIMIC.tables_of(MIMIC.find(root / "mimic_cxr"), MIMIC.options()),
    }


def made_up_tables(**tables: list[dict]):
    """Tables from rows: ``ms_cxr__boxes=[{...}]``; columns that a row leaves out are null."""
    found: dict[str, dict[str, pa.Table]] = {}
    for name, rows in tables.items():
        source, table = name.split("__")
        every = get_source(source).tables
        empty = {other: every[other].schema.empty_table() for other in every}
        found.setdefault(source, empty)[table] = pa.Table.from_pylist(rows, every[table].schema)
    return found


def records(tables, task: str, source: str, **settings) -> dict[str, dict]:
    """Records of a task by id, over some tables."""
    (entry,) = [entry for entry in load_task_specs() if entry.spec.source == source and entry.task.task == task]
    reads = [get_source(name) for name in entry.spec.reads]
    with RecordQueries(get_source(source), tables, reads=reads, **settings) as queries:
        batches = list(queries.records(entry, list(queries.columns(entry)), 10_000))
    return {row["id"]: row for batch in batches for row in batch.to_pylist()}
