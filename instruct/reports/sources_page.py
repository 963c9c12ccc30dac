"""The page of all sources, ``python -m instruct.reports.sources_page > docs/sources.md``.

What the page says stands where it is used: files, tables and options in a reader, terms and count rules in a task
spec, known defects of the published table beside that table. A test holds the committed page to them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from instruct.reports.count_table import COLUMNS, column_key, column_title, defects, published
from instruct.sources import Source, get_source
from instruct.specs.task_spec import SPLITS, TaskEntry, TaskSpec, load_task_specs

_ACCESS = {
    "open": "open download",
    "registration": "free registration",
    "gated": "gated by an agreement",
    "credentialed": "credentialed (training and agreement)",
}

_INTRODUCTION = """\
# Sources

<!-- Made by `python -m instruct.reports.sources_page > docs/sources.md` from the readers and task specs. -->

Each source is read exactly as its owners ship it; `cxr-instruct sources NAME` shows the same on the command line. How
the numbers are taken: an example is one record, however many wordings it has; images and studies are distinct keys,
each with the source that it belongs to, so that a study that two sources tell of counts once in the Total. "Published"
is the count table of CheXinstruct; "full release" is what our rule gives on everything that the publisher ships, where
that is known. Choices by chance (negatives, subsets) are by a hash of the id, the same on every machine.
"""


def page() -> str:
    """The whole page, as Markdown."""
    groups: dict[str, list[TaskEntry]] = {}
    for entry in sorted(load_task_specs(), key=_published_place):
        groups.setdefault(entry.spec.source, []).append(entry)
    overview = [
        [
            f"[{get_source(name).title}](#{name})",
            ", ".join(dict.fromkeys(entry.spec.dataset for entry in entries)),
            _ACCESS[entries[0].spec.access],
            str(len(entries)),
        ]
        for name, entries in groups.items()
    ]
    parts = [_INTRODUCTION, _table(["source", "in the count table", "access", "rows"], overview)]
    parts += [_section(get_source(name), entries) for name, entries in groups.items()]
    return "\n".join(parts)


def _published_place(entry: TaskEntry) -> tuple[int, str]:
    """Place of a task's row in the published table; a task it lacks comes last."""
    rows = list(published())
    return (rows.index(entry.name) if entry.name in rows else len(rows), entry.name)


def _section(source: Source, entries: Sequence[TaskEntry]) -> str:
    specs = list({id(entry.spec): entry.spec for entry in entries}.values())
    lines = [f'<a id="{source.name}"></a>', "", f"## {source.title}", "", *_facts(source, specs), "", "### Rows", ""]
    for entry in entries:
        lines += _row(entry)
    lines += ["### Files", "", *_files(source, any(_shows_own(entry) for entry in entries))]
    options = source.options.model_json_schema().get("properties", {})
    if options:
        rows = [[f"`{name}`", _values(told), told.get("description", "")] for name, told in options.items()]
        lines += ["### Options of the reader", "", _table(["option", "values", "meaning"], rows)]
    lines += ["### Tables", "", "A question mark after a type: the value can be missing.", ""]
    for name, table in source.tables.items():
        lines += [
            f"**`{name}`**: {table.description}",
            "",
            _table(["column", "type", "meaning"], _columns(table.schema)),
        ]
    lines += [f"**`{name}`** (view): {view.description}\n" for name, view in source.views.items()]
    return "\n".join(lines)


def _files(source: Source, shows_images: bool) -> list[str]:
    folders = f"Below a folder named {_either(f'`{folder}`' for folder in source.folders)}"
    images = f"; images below {_either(f'`{folder}/`' for folder in source.image_folders)}" if shows_images else ""
    lines = [f"{folders}{images}.", ""]
    obtain = list(dict.fromkeys(item.obtain for item in source.inputs))
    if len(obtain) == 1:
        lines += [f"Where from: {obtain[0]}", ""]
    rows = []
    told: set[str] = set()
    for item in source.inputs:
        name = f"{item.name.replace('_', ' ')}{'' if item.required else ' (optional)'}"
        files = _either(f"`{pattern}`" for pattern in item.patterns)
        rows.append([name, files, *(["as above" if item.obtain in told else item.obtain] if len(obtain) > 1 else [])])
        told.add(item.obtain)
    return [*lines, _table(["input", "file", "where from"][: len(rows[0])], rows)]


def _facts(source: Source, specs: Sequence[TaskSpec]) -> list[str]:
    spec = specs[0]
    lines = [
        f"- name `{source.name}`, {source.homepage}",
        f"- access: {_ACCESS[spec.access]}; {spec.licence}",
    ]
    for label, names in (
        ("patients, studies and images are those of", [each.namespace for each in specs if each.namespace]),
        ("reads the tables of", [name for each in specs for name in each.reads]),
        ("reuses images or reports of", [name for each in specs for name in each.upstream]),
    ):
        if names:
            lines.append(f"- {label}: {', '.join(f'[`{name}`](#{name})' for name in dict.fromkeys(names))}")
    return lines


def _shows_own(entry: TaskEntry) -> bool:
    """Whether a task shows images of its own source."""
    return entry.namespace == entry.spec.source and " images" in entry.task.records


def _row(entry: TaskEntry) -> list[str]:
    lines = [f"#### {entry.name}", "", f"Template `{entry.task.template}`. {_one_line(entry.task.rule)}".rstrip(), ""]
    numbers = []
    if entry.name in published():
        numbers.append(["published", *(f"{value:,}" for value in published()[entry.name][: len(SPLITS)])])
    if entry.task.expect:
        expect = entry.task.expect
        numbers.append(["full release", *(f"{expect[split]:,}" if split in expect else "" for split in SPLITS)])
    if numbers:
        lines.append(_table(["examples", *SPLITS], numbers))
    if entry.task.differs:
        lines += [f"*Where and why we differ.* {_one_line(entry.task.differs)}", ""]
    lines += _defects(entry.name)
    return lines


def _defects(row: str) -> list[str]:
    """Published figures of a row that are known to be wrong: one line for each reason."""
    reasons: dict[str, list[str]] = {}
    keys = {column_key(kind, split): place for place, (kind, split) in enumerate(COLUMNS)}
    for (name, key), why in defects().items():
        if name == row:
            figure = f"{column_title(*COLUMNS[keys[key]])} {published()[row][keys[key]]:,}"
            reasons.setdefault(why, []).append(figure)
    if not reasons:
        return []
    found = [f"- {', '.join(figures)}: {why}" for why, figures in reasons.items()]
    return ["Published figures that are not right:", "", *found, ""]


def _columns(schema: pa.Schema) -> list[list[str]]:
    return [
        [
            f"`{field.name}`",
            _kind(field.type) + ("?" if field.nullable else ""),
            (field.metadata or {}).get(b"description", b"").decode(),
        ]
        for field in schema
    ]


def _kind(kind: pa.DataType) -> str:
    """A column's type in a few words; a question mark after it means that it can be missing."""
    if pa.types.is_list(kind):
        return f"list of {_kind(kind.value_type)}"
    if pa.types.is_struct(kind):
        return f"({', '.join(f'{field.name} {_kind(field.type)}' for field in kind)})"
    if pa.types.is_map(kind):
        return f"{_kind(kind.key_type)} to {_kind(kind.item_type)}"
    if pa.types.is_string(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "yes or no"
    if pa.types.is_integer(kind):
        return "whole number"
    return "number" if pa.types.is_floating(kind) else "date" if pa.types.is_date(kind) else str(kind)


def _values(option: dict[str, Any]) -> str:
    """What an option can be, its default first."""
    kinds = option.get("anyOf", [option])
    default = option.get("default")
    values = [value for kind in kinds for value in kind.get("enum", [kind["const"]] if "const" in kind else [])]
    told = [f"`{value}`" for value in values if value != default]
    told += [kind["type"] for kind in kinds if not values and kind.get("type", "null") != "null"]
    return ", ".join([f"{'none' if default is None else f'`{default}`'} (default)", *told])


def _either(items: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(items))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, with a line of blanks after it."""
    written = [[_one_line(cell).replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (heads, *written)]
    return "\n".join([lines[0], f"|{':--|' * len(heads)}", *lines[1:], ""])


if __name__ == "__main__":
    sys.stdout.buffer.write(page().encode())
