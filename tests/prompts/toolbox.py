"""What the tests of prompts share: templates from a text, and batches of records rendered with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from instruct.prompts.render import Rendered, render_records
from instruct.prompts.source import find_template
from instruct.prompts.template import CompiledTemplate


def write(folder: Path, **files: str) -> Path:
    """Write template files, each named without its suffix."""
    for name, text in files.items():
        (folder / f"{name}.jinja").write_text(text, "utf-8")
    return folder


def compiled(folder: Path, text: str, **others: str) -> CompiledTemplate:
    """The template ``t`` of a folder, with other files beside it."""
    return CompiledTemplate(find_template("t", [write(folder, t=text, **others)]))


def one_variant(prompt: str, answer: str = "{{ answer }}", images: str = "none", top: str = "") -> str:
    """A template of one variant; its prompt stands on line 4."""
    return (
        f"{{% images {images} %}}{{% target answer %}}\n{top}\n{{% variant %}}\n"
        f"{{% user %}}{prompt}{{% enduser %}}\n{{% assistant %}}{answer}{{% endassistant %}}\n{{% endvariant %}}\n"
    )


def batch(columns: Mapping[str, Any]) -> pa.RecordBatch:
    """A batch of records; plain lists are texts."""
    return pa.record_batch(
        {
            name: value if isinstance(value, pa.Array) else pa.array(value, pa.string())
            for name, value in columns.items()
        }
    )


def render(
    template: CompiledTemplate,
    columns: Mapping[str, Any],
    images: Sequence[int] | None = None,
    variants: Sequence[Sequence[int]] | None = None,
) -> Rendered:
    """Render records: without images and with the first variant, unless said otherwise."""
    records = batch(columns)
    chosen = np.zeros((len(records), 1), int) if variants is None else np.array(variants)
    return render_records(template, records, images or [0] * len(records), chosen)


def prompts(rendered: Rendered) -> list[str]:
    """The last user turn of each example, with ``<image>`` for its images."""
    return [
        [turn["value"] for turn in turns if turn["from"] == "human"][-1]
        for turns in rendered.conversations.conversations.to_pylist()
    ]


def answers(rendered: Rendered) -> list[str]:
    """The last answer of each example."""
    return [turns[-1]["value"] for turns in rendered.conversations.conversations.to_pylist()]


def faults(rendered: Rendered) -> list[tuple[int, str, str]]:
    """Row, reason and detail of every fault."""
    return [(fault.row, str(fault.reason), fault.detail) for fault in rendered.faults]
