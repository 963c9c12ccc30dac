"""On whatever real files are here: every row gives the examples that its spec expects of the full release."""

from pathlib import Path

import pytest

from instruct.build.roots import find_root
from instruct.sources import get_source
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskEntry, load_task_specs

# The rows whose count follows from the release's own files alone, or with MIMIC-CXR's.
SOURCES = (
    "mimic_cxr", "mimic_cxr_vqa", "mimic_diff_vqa", "mimic_nle", "ms_cxr", "ms_cxr_t", "rad_restruct", "radgraph",
    "radnli", "radqa", "rexval",
)  # fmt: skip
ENTRIES = [entry for entry in load_task_specs() if entry.spec.source in SOURCES and entry.task.expect]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.config)
def test_the_row_gives_what_its_spec_expects(entry: TaskEntry, shared_data: Path) -> None:
    readers = [get_source(name) for name in (entry.spec.source, *entry.spec.reads)]
    roots = {reader.name: find_root(reader, shared_data) for reader in readers}
    tables = {}
    for reader in readers:
        root = roots[reader.name]
        if root is None:
            pytest.skip(f"{reader.name} is not in {shared_data}")
        files = reader.find(root)
        without_texts = reader.name == "mimic_cxr" and not (files["sectioned"] or files["reports"])
        options = reader.options(**({"sections": "none"} if without_texts else {}))
        tables[reader.name] = reader.tables_of(files, options)
    found = dict.fromkeys(("train", "val", "test"), 0)
    with RecordQueries(readers[0], tables, reads=readers[1:]) as queries:
        for batch in queries.records(entry, [], 50_000):
            found[batch["split"][0].as_py()] += len(batch)
    assert {split: found[split] for split in entry.task.expect} == entry.task.expect
