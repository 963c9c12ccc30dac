"""The report of a mixture: what an epoch draws of each "[Task] [Dataset]", and what is drawn too often."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow.compute as pc

from instruct.mixture.index import MixtureIndex, Part
from instruct.mixture.recipe import MixtureRecipe
from instruct.mixture.rows import open_rows

# Of English text; tokenizers of language models with 32,000 entries and more give about that many letters to a token.
_BYTES_PER_TOKEN = 4
_COLUMNS = ("rows", "draws", "share", "repeats", "text tokens", "images")


def mixture_report(recipe: MixtureRecipe, index: MixtureIndex) -> dict[str, Any]:
    """What an epoch of a mixture draws.

    Args:
        recipe: the mixture.
        index: its index.

    Returns:
        Plain data: ``name``, ``split``, ``digest``, ``rows`` (per part ``label``, ``folder``, ``rows``, ``draws``,
        ``share`` 0-1, ``repeats``, ``text_tokens``, ``images``), ``total`` and ``warnings``. ``text_tokens`` is the
        text's UTF-8 bytes by four, and like ``images`` the mean of the part's rows times its draws; exact lengths with
        image tokens depend on the model and are those of the run plan.

    Raises:
        DataError: a shard is missing or not the one that the build wrote.
    """
    lines = [_line(part) for part in index.parts]
    total = {name: sum(line[name] for line in lines) for name in ("rows", "draws", "text_tokens", "images")}
    return {
        "name": recipe.name,
        "split": index.split,
        "digest": index.digest,
        "rows": lines,
        "total": total,
        "warnings": repeat_warnings(lines, recipe.max_epochs_warn),
    }


def repeat_warnings(lines: Iterable[Mapping[str, Any]], limit: float) -> list[str]:
    """A sentence per line (of this report, or of a run plan's) whose rows are drawn more than ``limit`` times."""
    return [
        f"{line['label']}: each row is drawn {line['repeats']:.2f} times, more than max_epochs_warn ({limit:g})"
        for line in lines
        if line["repeats"] > limit
    ]


def to_text(report: Mapping[str, Any]) -> str:
    """The report as a table, with its warnings below."""
    lines: Sequence[Mapping[str, Any]] = report["rows"]
    shown = [line for line in lines if line["draws"]]
    table = [["", *_COLUMNS]]
    table += [
        [
            line["label"],
            f"{line['rows']:,}",
            f"{line['draws']:,}",
            f"{100 * line['share']:.1f} %",
            f"{line['repeats']:.2f}",
            f"{line['text_tokens']:,}",
            f"{line['images']:,}",
        ]
        for line in shown
    ]
    total = report["total"]
    table.append(
        [
            "Total",
            f"{total['rows']:,}",
            f"{total['draws']:,}",
            "",
            "",
            f"{total['text_tokens']:,}",
            f"{total['images']:,}",
        ]
    )
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    text = [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in table
    ]
    text.insert(1, "  ".join("-" * width for width in widths))
    text.append("")
    text.append(f"{report['name']}, {report['split']}: an epoch; text tokens are bytes by {_BYTES_PER_TOKEN}")
    text.append(f"index {report['digest']}")
    empty = [line["label"] for line in lines if not line["rows"]]
    idle = [line["label"] for line in lines if line["rows"] and not line["draws"]]
    if empty:
        text.append(f"selected, without rows in this split: {', '.join(empty)}")
    if idle:
        text.append(f"selected, with so small an amount that nothing is drawn: {', '.join(idle)}")
    text += [f"warning: {warning}" for warning in report["warnings"]]
    return "\n".join(text) + "\n"


def _line(part: Part) -> dict[str, Any]:
    rows = len(part.candidates) if part.rows is not None else part.size
    tokens, images = _means(part) if part.draws else (0.0, 0.0)
    return {
        "label": part.label,
        "folder": str(part.folder),
        "rows": rows,
        "draws": part.draws,
        "share": round(part.weight, 6),
        "repeats": round(part.draws / rows, 4) if rows else 0.0,
        "text_tokens": round(tokens * part.draws),
        "images": round(images * part.draws),
    }


def _means(part: Part) -> tuple[float, float]:
    """Text tokens and images of a row, on average."""
    rows = open_rows(part)
    content = [pc.struct_field(chunk.flatten(), "content").flatten() for chunk in rows.column("messages").chunks]
    text = sum(pc.sum(pc.binary_length(pc.struct_field(parts, "text"))).as_py() or 0 for parts in content)
    images = pc.sum(pc.list_value_length(rows.column("images"))).as_py() or 0
    return text / _BYTES_PER_TOKEN / len(rows), images / len(rows)
