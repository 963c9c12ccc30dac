"""Reports that a build leaves in its folder: the count table in three forms, and a README that ``datasets`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from instruct.build.counts import Counts
from instruct.build.files import write_json, write_text
from instruct.reports.count_table import to_csv, to_json, to_markdown


def write_reports(folder: Path, manifest: dict[str, Any], counts: Counts) -> None:
    """Write ``README.md``, ``counts.md``, ``counts.csv`` and ``counts.json`` into a build's folder."""
    absent = {task["name"]: task["absent"] for task in manifest["tasks"] if task.get("absent")}
    table = to_markdown(counts, absent)
    write_text(folder / "counts.md", table)
    write_text(folder / "counts.csv", to_csv(counts))
    write_json(folder / "counts.json", to_json(counts))
    write_text(folder / "README.md", _readme(manifest, table))


def _readme(manifest: dict[str, Any], table: str) -> str:
    head = yaml.safe_dump({"configs": manifest["configs"]}, sort_keys=False, allow_unicode=True)
    licences = [f"- {name}: {source['access']}; {source['licence']}" for name, source in manifest["sources"].items()]
    left_out = [
        f"- {task['name']}: {number:,} {reason}"
        for task in manifest["tasks"]
        for reason, number in task.get("bad", {}).items()
    ]
    body = [
        f"# {manifest['name']}",
        "",
        f"Instruction data built by cxr-instruct {manifest['version']}. Not for clinical use.",
        "",
        "```python",
        "from datasets import load_from_disk",
        "",
        'dataset = load_from_disk("path/to/this/folder")  # every task; a subfolder opens one',
        "```",
        "",
        "Sources and their terms:",
        "",
        *licences,
        "",
        table.replace("# Instruction", "## Instruction", 1)
        .replace("\n## Data", "\n### Data")
        .replace("\n## All", "\n### All"),
    ]
    if left_out:
        body += ["Records left out (see `quarantine.jsonl`):", "", *left_out, ""]
    recipe = json.dumps(manifest["recipe"], indent=1, sort_keys=True)
    body += ["Recipe:", "", "```json", recipe, "```", ""]
    return f"---\n{head}---\n\n" + "\n".join(body)
