"""How a row is worded: its template's first variant over made-up values. A card shows no text of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from instruct.build.lint import bare_queries, example_value
from instruct.build.selection import template_folders
from instruct.digest import digest_json
from instruct.errors import SpecError, UsageError
from instruct.prompts.render import render_records
from instruct.prompts.source import find_template
from instruct.prompts.template import CompiledTemplate, compile_template
from instruct.specs.task_spec import TaskEntry, load_task_specs

_SPEAKERS = {"system": "system", "human": "user", "gpt": "assistant"}


def prompt_examples(manifest: Mapping[str, Any], spec_folders: Sequence[Path] = ()) -> dict[str, str]:
    """One worded example of each row of a build.

    Args:
        manifest: the build's manifest.
        spec_folders: folders with the task specs and templates of the user's own rows.

    Returns:
        Configuration to the conversation, one turn after the other. A row whose spec or template is not at hand, or is
        no longer the one that was built with, is left out.
    """
    built = {task["config"]: task for task in manifest["tasks"] if task.get("facts")}
    entries = [entry for entry in load_task_specs(spec_folders) if entry.config in built]
    folders = template_folders(spec_folders)
    examples: dict[str, str] = {}
    for _, group in groupby(entries, key=lambda entry: entry.file.path):
        same_spec = list(group)
        try:
            with bare_queries(same_spec) as queries:
                for entry in same_spec:
                    facts = built[entry.config]["facts"]
                    source = find_template(entry.task.template, folders)
                    if {name: digest_json(text) for name, text in source.texts} == facts["template_files"]:
                        template = compile_template(source, facts["settings"]["dialect"])
                        examples[entry.config] = _worded(entry, template, queries.column_types(entry))
        except (SpecError, UsageError):
            continue
    return examples


def _worded(entry: TaskEntry, template: CompiledTemplate, types: Mapping[str, pa.DataType]) -> str:
    wanted = template.declarations.images
    images = 0 if wanted == "none" else 1 if wanted == "any" else int(wanted or 0)
    record = pa.record_batch(
        {name: pa.array([example_value(name, types[name])], types[name]) for name in ["id", *template.columns]}
    )
    rendered = render_records(template, record, [images], np.zeros((1, 1), np.int64))
    (turns,) = rendered.conversations.conversations.to_pylist()
    return "\n".join(f"{_SPEAKERS[turn['from']]}: {turn['value']}" for turn in turns)
