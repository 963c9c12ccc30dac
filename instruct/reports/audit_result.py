"""What the leakage audit of a build found, as the card prints it and as publishing asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from instruct.audit.result import build_digest, recipe_line
from instruct.build.audit_gate import AUDIT
from instruct.build.files import read_json
from instruct.errors import DataError
from instruct.reports.markdown import Markdown, Table
from instruct.specs.task_spec import SPLITS

# Leaks that a card lists.
_LISTED = 50
_APART = [(one, two) for one in SPLITS for two in SPLITS if one != two]


def audit_markdown(folder: Path, manifest: Mapping[str, Any]) -> Markdown:
    """The audit's result for the card: findings and exceptions by numbers, without the keys."""
    found = read_json(folder / AUDIT)
    if found is None:
        return Markdown("Not audited: `cxr-instruct audit OUT` looks for leaks between splits.")
    if found["build"] != build_digest(manifest):
        return Markdown("Not audited since it was built anew: run `cxr-instruct audit OUT` again.")
    leaks, accepted = found["findings"], found["accepted"]
    said = f"{len(leaks):,} leak{'s' * (len(leaks) != 1)} between splits" if leaks else "No leak between splits"
    parts = [f"{said}, {len(accepted):,} accepted with a reason. Looked for: {', '.join(found['checks'])}."]
    if leaks:
        rows = [[*_cells(item), recipe_line(item["fix"], 0)] for item in leaks]
        parts.append(_table("Leaks", "what the recipe can do", rows))
    if accepted:
        parts.append(_table("Accepted", "reason", [[*_cells(item), item["accepted"]] for item in accepted]))
    shared = [
        [row["first"], row["second"], row["kind"], *(row["shared"][one][two] for one, two in _APART)]
        for row in found["matrix"]
        if any(row["shared"][one][two] for one, two in _APART)
    ]
    if shared:
        heads = ["dataset", "and", "shared", *(f"{one} and {two}" for one, two in _APART)]
        note = "What two datasets share in two splits: keys, and report texts word for word, stock phrases included."
        parts.append(Table("Shared", heads, shared, note).markdown())
    for reason, number in found["left_out"].items():
        parts.append(f"Not looked at: {number:,} images, {reason}.")
    return Markdown("\n\n".join(parts))


def _cells(item: Mapping[str, Any]) -> list[object]:
    other = f"{item['other']} {item['other_split']}".strip()
    return [item["check"], f"{item['dataset']} {item['split']}", other, item["count"]]


def _table(title: str, last: str, rows: list[list[object]]) -> Markdown:
    note = f"And {len(rows) - _LISTED:,} more, in audit.json." if len(rows) > _LISTED else ""
    return Table(title, ["check", "dataset and split", "with", "number", last], rows[:_LISTED], note).markdown()


def require_clean(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make sure that a build was audited as it is, texts too, and that no leak was found that nobody accepted.

    Raises:
        DataError: it was not, or there are leaks.
    """
    found = read_json(folder / AUDIT)
    command = f"`cxr-instruct audit {folder}`"
    if found is None:
        raise DataError(f"{folder}: was not audited; run {command} first")
    if found["build"] != build_digest(manifest):
        raise DataError(f"{folder}: its audit is of another build; run {command} again")
    if "text" not in found["checks"]:
        raise DataError(f"{folder}: its audit did not compare report texts; run {command} without --no-texts")
    if found["findings"]:
        raise DataError(
            f"{folder}: the audit found {len(found['findings']):,} leaks between splits; mend them with the recipe"
            f" ({recipe_line(found['fix'], 10)}), or accept them there with a written reason, and build again"
        )
