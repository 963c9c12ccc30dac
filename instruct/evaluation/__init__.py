"""Scoring predictions: the ReXrank metrics, the task metrics, their statistics, and the published leaderboard.

The names below are loaded on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from instruct.evaluation.boards import published_rows
    from instruct.evaluation.export import export_pairs
    from instruct.evaluation.leaderboard import Standing, rank_summary
    from instruct.evaluation.metric import Judge, Metric, Unavailable
    from instruct.evaluation.pairs import Pairs, make_pairs
    from instruct.evaluation.reading import read_predictions, read_references
    from instruct.evaluation.report import Report
    from instruct.evaluation.results import Result
    from instruct.evaluation.statistics import bootstrap_interval, mean_interval, paired_test, reciprocal_interval
    from instruct.evaluation.suite import evaluate

_HOME = {
    "Judge": "metric",
    "Metric": "metric",
    "Pairs": "pairs",
    "Report": "report",
    "Result": "results",
    "Standing": "leaderboard",
    "Unavailable": "metric",
    "bootstrap_interval": "statistics",
    "evaluate": "suite",
    "export_pairs": "export",
    "make_pairs": "pairs",
    "mean_interval": "statistics",
    "paired_test": "statistics",
    "published_rows": "boards",
    "rank_summary": "leaderboard",
    "read_predictions": "reading",
    "read_references": "reading",
    "reciprocal_interval": "statistics",
}

__all__ = [
    "Judge",
    "Metric",
    "Pairs",
    "Report",
    "Result",
    "Standing",
    "Unavailable",
    "bootstrap_interval",
    "evaluate",
    "export_pairs",
    "make_pairs",
    "mean_interval",
    "paired_test",
    "published_rows",
    "rank_summary",
    "read_predictions",
    "read_references",
    "reciprocal_interval",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
