"""Lint: hold specs and templates against each other without any data.

Rules, each with the message it gives:

* the query binds against the reader's tables, meets the record contract and gives the same each time;
* every column a template reads is one the query gives, of a type that can be printed;
* every variant's prompt uses what ``{% inputs %}`` declares, every answer what ``{% target %}`` declares;
* the target is not told in the prompt;
* a template that shows images has a query that gives them, and the reverse;
* each variant places each image once and in order, and renders on made-up records;
* no ``{name}`` with single braces, which Jinja prints as it stands;
* no text that a model family reads as a control token, such as ``<image>``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from instruct.errors import SpecError
from instruct.prompts.language import Turn, Variant
from instruct.prompts.marks import SPECIAL_TOKEN
from instruct.prompts.render import render_records
from instruct.prompts.source import find_template
from instruct.prompts.template import CompiledTemplate, compile_template
from instruct.sources import get_source
from instruct.specs.checks import check_query
from instruct.specs.records import RecordQueries
from instruct.specs.task_spec import TaskEntry

_SINGLE_BRACES = re.compile(r"(?<![{%#])\{\s*[a-z_][a-z_0-9.]*\s*\}(?!\})")
_COMMENT = re.compile(r"\{#.*?#\}", re.DOTALL)
# Made-up values of the contract's columns, which have to fit each other.
_EXAMPLES: dict[str, Any] = {
    "options": ["first choice", "second choice"],
    "answers": ["first choice"],
    "regions": [{"image": 0, "label": "finding", "box": [0.1, 0.2, 0.5, 0.75], "mask": "52203", "size": [4, 4]}],
}
# Counts of images that a template for any number of them must be right for.
_ANY = (1, 2, 3, 5)


def lint(entries: Sequence[TaskEntry], template_folders: Sequence[Path] = ()) -> list[str]:
    """Everything wrong with some tasks and their templates, as ``file:line:column: message``; empty if all is well."""
    problems: list[str] = []
    templates: dict[str, CompiledTemplate | None] = {}
    for entry in entries:
        name = entry.task.template
        if name not in templates:
            try:
                template = compile_template(find_template(name, template_folders))
                templates[name] = template
                problems += lint_template(template)
            except SpecError as error:
                templates[name] = None
                problems += [f"{problem} (wanted at {entry.place('template')})" for problem in error.problems]
    if entries:
        with bare_queries(entries) as queries:
            for entry in entries:
                problems += lint_task(entry, queries, templates[entry.task.template])
    return list(dict.fromkeys(problems))


def bare_queries(entries: Sequence[TaskEntry]) -> RecordQueries:
    """The queries of some tasks over empty tables: enough to bind them."""
    names = dict.fromkeys(name for entry in entries for name in (entry.spec.source, *entry.spec.reads))
    first, *others = [get_source(name) for name in names]
    return RecordQueries(first, reads=others)


def lint_task(entry: TaskEntry, queries: RecordQueries, template: CompiledTemplate | None) -> list[str]:
    """What is wrong with a task: its query, and how its template fits it."""
    files = [item.name for item in get_source(entry.spec.source).inputs]
    unknown = [name for name in entry.task.needs if name not in files]
    if unknown:
        return [
            f"{entry.place('needs')}: {entry.name}: the source has no file {unknown[0]!r}; it has {', '.join(files)}"
        ]
    try:
        problems = check_query(entry, queries)
        columns = queries.columns(entry)
    except SpecError as error:
        return error.problems
    if template is None:
        return problems
    at = f"{entry.place('template')}: {entry.name}: template {template.source.name}"
    missing = [name for name in template.columns if name not in columns]
    if missing:
        problems.append(f"{at} reads {', '.join(missing)}; the query gives {', '.join(columns)}")
    shows = template.declarations.images != "none"
    if shows and "images" not in columns:
        problems.append(f"{at} shows images; the query gives no column 'images'")
    if not shows and "images" in columns:
        problems.append(f"{at} shows no images; the query gives the column 'images'")
    types = {} if missing else queries.column_types(entry)
    problems += [
        f"{entry.query_place()}: {entry.name}: column {name!r} is {(given := columns[name].replace(chr(34), ''))};"
        f" cast it ({'NULL' if given == 'NULL' else name}::VARCHAR)"
        for name in template.columns
        if types and not _is_printable(types[name])
    ]
    if types and not problems:
        # In the default dialect: others print tags that are control tokens to models which do not know them.
        usual = compile_template(template.source)
        problems += _lint_rendering(usual, tuple((name, types[name]) for name in ["id", *template.columns]))
    return problems


def lint_template(template: CompiledTemplate) -> list[str]:
    """What is wrong with a template by itself."""
    source = template.source
    problems = []
    for name, text in source.texts:
        path = str(Path(source.path).with_name(name))
        for number, line in enumerate(_without_comments(text).splitlines(), 1):
            for match in SPECIAL_TOKEN.finditer(line):
                problems.append(f"{path}:{number}:{match.start() + 1}: {_control_token(match[0])}")
            for match in _SINGLE_BRACES.finditer(line):
                problems.append(
                    f"{path}:{number}:{match.start() + 1}: {match[0]} prints as it stands;"
                    f" write {{{{ {match[0][1:-1].strip()} }}}}"
                )
    declared = template.declarations
    for number, variant in enumerate(template.variants):
        where = f"{source.path}:{variant.line}:1: variant {number}"
        prompt, answer = _columns_used(template, variant)
        problems += [
            f"{where}: the prompt does not use the input {name!r}" for name in declared.inputs if name not in prompt
        ]
        problems += [
            f"{where}: the answer does not use the target {name!r}" for name in declared.target if name not in answer
        ]
        problems += [f"{where}: the prompt tells the target {name!r}" for name in declared.target if name in prompt]
    return problems


def _without_comments(text: str) -> str:
    """A template's text with blanks for its comments."""
    return _COMMENT.sub(lambda comment: re.sub(".", " ", comment[0]), text)


def _columns_used(template: CompiledTemplate, variant: Variant) -> tuple[set[str], set[str]]:
    """Columns that the prompt turns and the answer turns of a variant read, also through ``{% set %}``."""

    def used(turns: Sequence[Turn]) -> set[str]:
        body = [node for turn in turns for node in turn.body]
        names = template.names_used(body)
        for statement in reversed(variant.setup):
            if set(_assigned(statement)) & template.all_names(body):
                names |= template.names_used([statement])
        return names

    return (
        used([turn for turn in variant.turns if turn.role != "assistant"]),
        used([turn for turn in variant.turns if turn.role == "assistant"]),
    )


def _assigned(statement: Any) -> list[str]:
    from jinja2 import nodes

    return [name.name for name in statement.find_all(nodes.Name) if name.ctx == "store"]


@lru_cache(maxsize=256)  # many tasks share a template, and give it columns of the same types
def _lint_rendering(template: CompiledTemplate, types: tuple[tuple[str, pa.DataType], ...]) -> list[str]:
    """Render every variant on made-up records, with every number of images it must be right for."""
    wanted = template.declarations.images
    counts = (0,) if wanted == "none" else _ANY if wanted == "any" else (int(wanted or 0),)
    variants = np.tile(np.arange(len(template.variants)), len(counts))
    image_counts = np.repeat(counts, len(template.variants))
    records = pa.record_batch(
        {name: pa.array([example_value(name, kind)] * len(variants), kind) for name, kind in types}
    )
    try:
        rendered = render_records(template, records, image_counts, variants[:, None])
    except SpecError as error:
        return error.problems
    problems = [f"{fault.detail} (on a made-up record)" for fault in rendered.faults]
    told = "".join(_without_comments(text) for _, text in template.source.texts)
    made = rendered.conversations
    for number, turns, messages in zip(
        rendered.variants, made.conversations.to_pylist(), made.messages.to_pylist(), strict=True
    ):
        where = f"{template.source.path}:{template.variants[int(number)].line}:1: variant {number}"
        for turn in turns:
            text = turn["value"]
            if text != text.strip() or "  " in text:
                problems.append(f"{where}: stray white space in {text!r}")
        said = "".join(part["text"] or "" for message in messages for part in message["content"])
        for token in SPECIAL_TOKEN.findall(said):
            if token not in told:  # it is put together of parts
                problems.append(f"{where}: {_control_token(token)}")
    return list(dict.fromkeys(problems))


def _control_token(token: str) -> str:
    said = f"models read {token} as a control token; leave it out"
    if not re.search("image|img", token.lower()):
        return said
    return f"{said}, and write {{{{ images }}}} or {{{{ image(0) }}}} where an image stands"


def example_value(name: str, kind: pa.DataType) -> Any:
    """A made-up value of a column: ``the findings`` for findings, choices for options, a box for regions."""
    if name in _EXAMPLES:
        return _EXAMPLES[name]
    if pa.types.is_string(kind):
        return f"the {name.replace('_', ' ')}"
    if pa.types.is_list(kind):
        return [example_value(name, kind.value_type)]
    if pa.types.is_struct(kind):
        return {child.name: example_value(child.name, child.type) for child in kind}
    if pa.types.is_boolean(kind):
        return True
    return 0


def _is_printable(kind: pa.DataType) -> bool:
    """Whether values are texts, numbers, booleans, dates or times, or lists or structs of these."""
    if pa.types.is_list(kind):
        return _is_printable(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_printable(child.type) for child in kind)
    numbers = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_boolean)
    times = (pa.types.is_date, pa.types.is_time, pa.types.is_timestamp)
    return any(is_one(kind) for is_one in (pa.types.is_string, *numbers, *times))
