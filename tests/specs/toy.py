"""A made-up source with two small tables, and specs over it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from instruct.sources import Source, Table, View, column
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskEntry, load_task_spec

STUDIES = pa.schema(
    [
        column("study", pa.string(), "key"),
        column("split", pa.string(), "train, val or test"),
        column("images", pa.list_(pa.string()), "image paths"),
        column("findings", pa.string(), "section"),
    ]
)
SOURCE = Source(
    name="toy",
    title="Toy",
    homepage="",
    folders=("toy",),
    inputs=(),
    image_folders=("images",),
    tables={"studies": Table("One row per study.", STUDIES)},
    read=lambda files, options: {},
    views={"tests": View("The test studies.", "SELECT * FROM toy.studies WHERE split = 'test'")},
)
# The columns every query must give.
CORE = "study AS id, split, NULL::VARCHAR AS patient, [study] AS studies, 'toy.csv:1' AS origin"


def studies(*rows: tuple[str | None, str | None]) -> pa.Table:
    """A table of studies, each given as key and split."""
    return pa.Table.from_pylist(
        [{"study": study, "split": split, "images": [f"{study}.png"], "findings": "Clear."} for study, split in rows],
        STUDIES,
    )


def entry(folder: Path, query: str) -> TaskEntry:
    """A task with this query, in a spec file; its first line is line 9 of the file."""
    lines = ["source: toy", "dataset: Toy", "access: open", "licence: none", "tasks:"]
    lines += ["  - task: Reading", "    template: reading", "    records: |"]
    lines += [f"      {line}" for line in query.splitlines()]
    file = folder / "toy.yaml"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return load_task_spec(file)[0]


def queries(table: pa.Table | None = None, **options: object) -> RecordQueries:
    """Queries over a table of studies, or over none."""
    return RecordQueries(SOURCE, None if table is None else {"toy": {"studies": table}}, **options)
