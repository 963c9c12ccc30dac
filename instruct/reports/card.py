"""Reports that a build leaves in its folder: count table in three forms, dataset card, Croissant, citations.

The build writes them from its manifest and counts alone. :func:`write_card` writes the card again with what takes
longer: worded examples, statistics and plots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from instruct.build.counts import Counts, count_shards
from instruct.build.files import write_json, write_text
from instruct.build.verify import read_manifest
from instruct.reports.audit_result import audit_markdown
from instruct.reports.card_facts import bibliography, source_parts, terms_parts
from instruct.reports.card_rows import build_parts
from instruct.reports.count_table import published, to_csv, to_json, to_markdown
from instruct.reports.croissant import croissant
from instruct.reports.hub import front_matter
from instruct.reports.markdown import Markdown, escape
from instruct.reports.prompts import prompt_examples
from instruct.reports.statistics.tables import statistics_tables

CARD, CROISSANT, BIBLIOGRAPHY = "README.md", "croissant.json", "CITATION.bib"
_NOT_COMPUTED = Markdown("Not computed yet: `cxr-instruct card OUT` adds them.")


def write_reports(folder: Path, manifest: dict[str, Any], counts: Counts) -> None:
    """Write a build's reports: its card, Croissant document, citations, and ``counts.md``, ``.csv`` and ``.json``."""
    write_text(folder / "counts.md", to_markdown(counts, _absent(manifest)))
    write_text(folder / "counts.csv", to_csv(counts))
    write_json(folder / "counts.json", to_json(counts))
    _write(folder, manifest, counts, {}, None, [])


def write_card(
    folder: Path, statistics: Mapping[str, Any], plots: Sequence[Path] = (), spec_folders: Sequence[Path] = ()
) -> list[Path]:
    """Write the whole card of a dataset folder, its Croissant document and its citations.

    Args:
        folder: the dataset folder.
        statistics: of :func:`instruct.reports.statistics.compute_statistics`.
        plots: their plots, below the folder.
        spec_folders: folders with the task specs and templates of the user's own rows.

    Returns:
        The files.
    """
    manifest = read_manifest(folder)
    counts = count_shards(folder, manifest["tasks"])
    _write(folder, manifest, counts, prompt_examples(manifest, spec_folders), statistics, plots)
    return [folder / name for name in (CARD, CROISSANT, BIBLIOGRAPHY)]


def _write(
    folder: Path,
    manifest: Mapping[str, Any],
    counts: Counts,
    prompts: Mapping[str, str],
    statistics: Mapping[str, Any] | None,
    plots: Sequence[Path],
) -> None:
    built = [task for task in manifest["tasks"] if task["splits"]]
    shown = _statistics(statistics, [plot.relative_to(folder).as_posix() for plot in plots])
    card = _template().render(
        head=Markdown(front_matter(manifest)),
        name=manifest["name"],
        version=manifest["version"],
        examples=f"{sum(count.examples for count in counts.total.values()):,}",
        rows_built=len(built),
        sources_built=", ".join(dict.fromkeys(task["dataset"] for task in built)) or "no source",
        first_config=Markdown(built[0]["config"] if built else "all"),
        counts=_counts(counts, manifest),
        audit=audit_markdown(folder, manifest),
        statistics=shown,
        **terms_parts(manifest),
        **source_parts(manifest),
        **build_parts(manifest, prompts),
    )
    write_text(folder / CARD, card)
    write_json(folder / CROISSANT, croissant(manifest))
    write_text(folder / BIBLIOGRAPHY, bibliography(manifest) + "\n")


@cache
def _template() -> Any:
    text = (files("instruct.reports") / "data" / "card.md.jinja").read_text("utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, finalize=escape, autoescape=False)
    return environment.from_string(text)


def _absent(manifest: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    return {task["name"]: task["absent"] for task in manifest["tasks"] if task.get("absent")}


def _counts(counts: Counts, manifest: Mapping[str, Any]) -> Markdown:
    """The count table, its heads below that of the section."""
    known = published()
    harmless = Counts({name if name in known else escape(name): row for name, row in counts.rows.items()}, counts.total)
    table = to_markdown(harmless, _absent(manifest)).partition("\n## ")[2]
    return Markdown("### " + table.replace("\n## ", "\n### ").rstrip("\n"))


def _statistics(statistics: Mapping[str, Any] | None, plots: Sequence[str]) -> Markdown:
    if statistics is None:
        return _NOT_COMPUTED
    parts = [f"### {escape(table.title)}\n\n{table.markdown()}" for table in statistics_tables(statistics)]
    if plots:
        images = "\n".join(f"![{Path(plot).stem}]({plot})" for plot in plots)
        parts.append(f"### Plots\n\n{images}")
    return Markdown("\n\n".join(parts))
