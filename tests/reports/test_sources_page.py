import subprocess
import sys

import pytest

from instruct.reports.count_table import TOTAL, defects, published
from instruct.reports.sources_page import page
from instruct.sources import get_source
from instruct.specs.task_spec import load_task_specs
from tests.conftest import REPOSITORY

COMMAND = "python -m instruct.reports.sources_page > docs/sources.md"


@pytest.fixture(scope="module")
def text():
    return page()


def test_the_committed_page_is_current(text):
    assert (REPOSITORY / "docs" / "sources.md").read_text("utf-8") == text, f"make it again: {COMMAND}"


def test_the_command_prints_the_page(text):
    done = subprocess.run([sys.executable, "-m", "instruct.reports.sources_page"], check=True, capture_output=True)
    assert done.stdout.decode() == text


def test_every_row_of_the_published_table_has_its_rule_and_numbers(text):
    rules = {entry.name: " ".join(entry.task.rule.split()) for entry in load_task_specs()}
    for name, numbers in published().items():
        if name == TOTAL:
            continue
        assert f"\n#### {name}\n" in text
        section = text.split(f"\n#### {name}\n")[1].split("\n#")[0]
        assert f"| published | {' | '.join(f'{number:,}' for number in numbers[:3])} |" in section
        assert rules[name], name
        assert rules[name] in section


def test_every_known_defect_of_a_row_stands_at_the_row(text):
    for (name, _), why in defects().items():
        if name != TOTAL:
            assert why in text.split(f"\n#### {name}\n")[1].split("\n#")[0]


def test_terms_files_tables_and_options_of_every_source_are_told(text):
    for entry in load_task_specs():
        source = get_source(entry.spec.source)
        section = text.split(f'<a id="{source.name}"></a>')[1].split("<a id=")[0]
        assert entry.spec.licence in section
        told = [source.homepage, *source.options.model_fields, *source.tables, *source.views]
        told += [pattern for item in source.inputs for pattern in item.patterns]
        told += [field.name for table in source.tables.values() for field in table.schema]
        assert not [name for name in told if name not in section]
        assert all((field.metadata or {}).get(b"description") for t in source.tables.values() for field in t.schema)


def test_links_lead_to_sources(text):
    names = {entry.spec.source for entry in load_task_specs()}
    linked = {link.split(")")[0] for link in text.split("](#")[1:]}
    assert linked == names


def test_tables_have_as_many_cells_as_heads(text):
    heads = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            heads = 0
            continue
        cells = line.replace("\\|", "").count("|") - 1
        assert cells == (heads or cells), line
        heads = cells
