"""Scores of predictions while a model is being trained: the metrics of the suite that need no weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from instruct.evaluation import evaluate, read_predictions
from instruct.evaluation.tasks.kinds import REPORT, TEXT, kind_of

Scores = dict[str, dict[str, Any]]


def score(predictions: Path, references: Path | None = None) -> Scores:
    """Score a prediction file of this package.

    Texts are scored with the lexical metrics, everything else with the metrics of its task; unknown tasks as texts.

    Args:
        predictions: the file.
        references: the dataset folder it was made from, by which answers other than texts are read back.

    Returns:
        ``[Task] [Dataset] split`` → ``n`` (examples given), ``empty`` (empty predictions) and ``values``, the number of
        each metric by name, None where it is undefined.
    """
    found: Scores = {}
    for group, pairs in read_predictions(predictions, references).groups():
        cheap = ["lexical"] if kind_of(group.task) in (REPORT, TEXT, None) else None
        (part,) = evaluate(pairs, metrics=cheap).parts
        found[f"[{group.task}] [{group.dataset}] {group.split}"] = {
            "n": part.n_given,
            "empty": sum(part.empty),
            "values": {name: result.value for name, result in part.results.items()},
        }
    return found


def headline(scores: Scores) -> Iterator[str]:
    """A line per part, in words."""
    for label, part in scores.items():
        values = ", ".join(f"{name} {value:.3f}" for name, value in part["values"].items() if value is not None)
        yield f"{label} (n {part['n']}): {values}"
