"""The place of a summary among the published ReXrank models."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instruct.errors import DataError, UsageError
from instruct.evaluation.boards import STATISTICS, STUDIES, Entry, board
from instruct.evaluation.report import FORMAT

_PART = frozenset(("part", "section", "results", "skipped"))


@dataclass(frozen=True)
class Standing:
    """Where a summary stands on one board.

    Attributes:
        dataset: board.
        section: ``findings`` or ``findings+impression``.
        by: statistic that ranks; more is better.
        entries: published models and the user's, best first.
        place: rank of the user's entry among all of ``entries``.
        best: rank if every model whose interval overlaps the user's were worse.
        worst: rank if every such model were better.
        notes: reasons to doubt the comparison.
    """

    dataset: str
    section: str
    by: str
    entries: tuple[Entry, ...]
    place: int
    best: int
    worst: int
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "dataset": self.dataset,
            "section": self.section,
            "by": self.by,
            "models": len(self.entries) - 1,
            "place": self.place,
            "best_place": self.best,
            "worst_place": self.worst,
            "notes": list(self.notes),
            "rows": [
                {
                    "place": place,
                    "model": entry.model,
                    "own": entry.own,
                    "values": dict(entry.values),
                    "ci95": list(entry.bounds(self.by)),
                }
                for place, entry in enumerate(self.entries, 1)
            ],
        }

    def markdown(self) -> str:
        """The board with the user's row in bold, and a sentence on the place."""
        from instruct.evaluation.tables import REXRANK, table

        rows = []
        for place, entry in enumerate(self.entries, 1):
            low, high = entry.bounds(self.by)
            cells = [str(place), entry.model, f"[{low:.3f}, {high:.3f}]" if entry.has_interval(self.by) else ""]
            cells += [f"{entry.values[name]:.3f}" if name in entry.values else "n/a" for name in STATISTICS]
            rows.append([f"**{cell}**" if cell else cell for cell in cells] if entry.own else cells)
        head = ("Place", "Model", f"95 % interval of {REXRANK[self.by]}", *(REXRANK[name] for name in STATISTICS))
        span = f"{self.best}" if self.best == self.worst else f"{self.best} to {self.worst}"
        lines = [
            f"## ReXrank, {self.dataset}, {self.section}, by {REXRANK[self.by]}",
            table(head, rows),
            f"Place {self.place} of {len(self.entries)} (among {len(self.entries) - 1} published models); "
            f"with overlapping intervals {span}. Published rows have two decimals.",
        ]
        if self.notes:
            lines.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(lines) + "\n"


def rank_summary(
    summary: str | Path | Mapping[str, Any],
    *,
    dataset: str,
    section: str,
    by: str = "inv_radcliq_v1",
    part: str | None = None,
    model: str = "this model",
) -> Standing:
    """Place a summary among the published models.

    Args:
        summary: ``summary.json`` of an evaluation, or its content.
        dataset: board.
        section: ``findings`` or ``findings+impression``; must be what the summary scored.
        by: statistic that ranks.
        part: which part of the summary, as printed; needed where it has several.
        model: name of the user's row.

    Raises:
        UsageError: no such board, part or section, or the summary has no value of ``by``; the message says why.
        DataError: the file is no summary.
    """
    if by not in STATISTICS:
        raise UsageError(f"cannot rank by {by!r}; expected one of {', '.join(STATISTICS)}")
    name, entries = board(dataset, section)
    chosen = _part(_load(summary), part)
    if chosen["section"] and chosen["section"] != section:
        raise UsageError(
            f"the summary scored the section {chosen['section']!r}, the board is {section!r}: rows of different "
            "sections do not compare; evaluate with that section or choose the other board"
        )
    results = {key: chosen["results"][key] for key in STATISTICS if _has_value(chosen, key)}
    if by not in results:
        skipped = chosen["skipped"].get(by) or chosen["results"].get(by) or {}
        have = ", ".join(results) or "none of the board's statistics"
        raise UsageError(
            f"the summary has no value of {by} (n/a: {skipped.get('reason', 'not asked for')}); it has {have}. "
            "Rank by one of those with --by, or evaluate again with what is missing"
        )
    own = Entry(
        model,
        {key: result["value"] for key, result in results.items()},
        {},
        own=True,
        interval={key: (result["ci95"][0], result["ci95"][1]) for key, result in results.items() if result["ci95"]},
    )
    low, high = own.bounds(by) if own.has_interval(by) else (-math.inf, math.inf)
    value = own.values[by]
    ordered = sorted([*entries, own], key=lambda entry: (-entry.values[by], entry.own))
    better = sum(entry.bounds(by)[0] > high for entry in entries)
    worse = sum(entry.bounds(by)[1] < low for entry in entries)
    return Standing(
        name,
        section,
        by,
        tuple(ordered),
        1 + sum(entry.values[by] >= value for entry in entries),
        1 + better,
        1 + len(entries) - worse,
        tuple(_doubts(chosen, results[by], by, name, section)),
    )


def _doubts(part: Mapping[str, Any], result: Mapping[str, Any], by: str, dataset: str, section: str) -> list[str]:
    notes = []
    expected = STUDIES[dataset, section]
    if not result["ci95"]:
        notes.append(f"The summary has no interval of {by} (too few studies, or too wide for a reciprocal): any place.")
    if result["n_scored"] != expected:
        notes.append(
            f"Scored on {result['n_scored']} studies, the published rows on {expected}: not the same test set, "
            "so the place is an indication only."
        )
    if not part["section"]:
        notes.append("The summary does not say which section it scored; rows of different sections do not compare.")
    return notes


def _load(summary: str | Path | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(summary, Mapping):
        return _checked("summary", summary)
    path = Path(summary)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; expected the summary.json of an evaluation") from None
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); expected the summary.json of an evaluation"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"{path}: not a summary; expected a JSON object with format {FORMAT!r}")
    return _checked(str(path), content)


def _checked(where: str, summary: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = summary.get("parts")
    if not (
        isinstance(parts, list) and parts and all(isinstance(one, Mapping) and one.keys() >= _PART for one in parts)
    ):
        raise DataError(
            f"{where}: its parts are damaged; expected one or more objects with {', '.join(sorted(_PART))}. "
            "Evaluate again"
        )
    return summary


def _part(summary: Mapping[str, Any], name: str | None) -> Mapping[str, Any]:
    parts: dict[str, Mapping[str, Any]] = {part["part"]: part for part in summary["parts"]}
    if name is None and len(parts) == 1:
        return next(iter(parts.values()))
    if name is None or name not in parts:
        raise UsageError(
            (f"no part {name!r}" if name else "the summary has several parts") + f"; choose one of {'; '.join(parts)}"
        )
    return parts[name]


def _has_value(part: Mapping[str, Any], name: str) -> bool:
    return name in part["results"] and part["results"][name]["value"] is not None
