"""Predictions in the form that the official evaluation code reads."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

from instruct.errors import DataError
from instruct.evaluation.pairs import Pairs


def export_pairs(pairs: Pairs, folder: str | Path) -> list[Path]:
    """Write the scored studies as two CSV files and as ReXrank prediction JSON.

    ``predictions.csv`` and ``references.csv`` have the columns ``study_id, report``; the official code wants whole
    numbers as ids, so studies are numbered and ``study_ids.csv`` has the number and the id of each.
    ``predictions.json`` is id → {``model_prediction`` and the reference as ``section_findings``,
    ``section_impression`` or ``report``}, by the section of the pairs.

    Returns:
        The four paths.

    Raises:
        DataError: an id is in several tasks, datasets or splits, which these files have no place for.
    """
    folder = Path(folder)
    pairs = pairs.scored()
    for study, times in Counter(pairs.ids).items():
        if times > 1:
            groups = "; ".join(str(group) for group, some in pairs.groups() if study in some.ids)
            raise DataError(
                f"{folder}: id {study!r} is in several of {groups}, and the exported files hold every id once; "
                "export the predictions of one task, dataset and split at a time"
            )
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        "predictions.csv": ("report", pairs.predictions),
        "references.csv": ("report", pairs.texts),
        "study_ids.csv": ("id", pairs.ids),
    }
    paths = []
    for name, (column, values) in columns.items():
        paths.append(folder / name)
        with paths[-1].open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("study_id", column))
            writer.writerows(enumerate(values, 1))
    truth = {"findings": "section_findings", "impression": "section_impression"}.get(pairs.section, "report")
    records = {
        study: {"model_prediction": prediction, truth: reference}
        for study, prediction, reference in zip(pairs.ids, pairs.predictions, pairs.texts, strict=True)
    }
    paths.append(folder / "predictions.json")
    paths[-1].write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return paths
