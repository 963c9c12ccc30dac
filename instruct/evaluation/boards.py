"""The published ReXrank boards.

The rows are the 88 printed in Tables 1 to 4 of the ReXrank paper (two decimals). Beside a reciprocal they print the
half width of the raw mean; here it is carried over to the reciprocal before anything is compared.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from instruct.errors import UsageError

STATISTICS = (
    "inv_radcliq_v1",
    "bleu2",
    "bertscore",
    "sembscore",
    "radgraph_f1",
    "ratescore",
    "green",
    "inv_fineradscore",
)
STUDIES = {
    ("ReXGradient", "findings"): 10_000,
    ("ReXGradient", "findings+impression"): 10_000,
    ("MIMIC-CXR", "findings"): 2347,
    ("MIMIC-CXR", "findings+impression"): 2347,
    ("IU X-ray", "findings"): 590,
    ("IU X-ray", "findings+impression"): 590,
    ("CheXpert Plus", "findings"): 62,
    ("CheXpert Plus", "findings+impression"): 200,
}


@dataclass(frozen=True)
class Entry:
    """One model on a board.

    Attributes:
        model: its name.
        values: statistic to value.
        raw_ci95: statistic to the printed half width (of the raw mean for reciprocals), None where unknown.
        own: True for the user's summary.
        interval: statistic to (low, high) where the summary states one; replaces ``raw_ci95``.
    """

    model: str
    values: Mapping[str, float]
    raw_ci95: Mapping[str, float | None]
    own: bool = False
    interval: Mapping[str, tuple[float, float]] | None = None

    def has_interval(self, statistic: str) -> bool:
        """Is a 95 % interval known?"""
        return statistic in (self.interval or {}) or self.raw_ci95.get(statistic) is not None

    def bounds(self, statistic: str) -> tuple[float, float]:
        """95 % interval of the value itself; the value twice where none is known."""
        if self.interval is not None and statistic in self.interval:
            return self.interval[statistic]
        value, half = self.values[statistic], self.raw_ci95.get(statistic)
        if half is None:
            return value, value
        if statistic.startswith("inv_"):
            half *= value**2
        return value - half, value + half


@cache
def published_rows() -> tuple[dict[str, Any], ...]:
    """The 88 published rows: dataset, section, rank, model, and mean and ci95 of the eight statistics."""
    text = files("instruct.evaluation").joinpath("data/rexrank_leaderboard.csv").read_text(encoding="utf-8")
    rows = []
    for record in csv.DictReader(text.splitlines()):
        row: dict[str, Any] = {name: record[name] for name in ("dataset", "section", "model")}
        row |= {"rank": int(record["rank"])}
        row |= {f"{name}_{part}": float(record[f"{name}_{part}"]) for name in STATISTICS for part in ("mean", "ci95")}
        rows.append(row)
    return tuple(rows)


def board(dataset: str, section: str) -> tuple[str, list[Entry]]:
    """Full name of a dataset and its published models for a section, as ranked.

    Args:
        dataset: name without regard to case and punctuation (``iu_xray``, ``MIMIC-CXR``).
        section: ``findings`` or ``findings+impression``.

    Raises:
        UsageError: there is no such board.
    """
    names = {_key(row["dataset"]): row["dataset"] for row in published_rows()}
    full = names.get(_key(dataset))
    rows = [row for row in published_rows() if row["dataset"] == full and row["section"] == section]
    if not rows:
        raise UsageError(
            f"no published board for {dataset!r}, {section!r}; expected a dataset of {', '.join(names.values())} "
            "and a section of findings, findings+impression"
        )
    return str(full), [
        Entry(
            row["model"],
            {name: row[f"{name}_mean"] for name in STATISTICS},
            {name: row[f"{name}_ci95"] for name in STATISTICS},
        )
        for row in rows
    ]


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
