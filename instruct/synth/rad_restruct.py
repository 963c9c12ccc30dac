"""Synthetic Rad-ReStruct: the folder ``data/radrestruct`` of its repository, about the OpenI corpus beside it.

Structured reports and answer vectors, which say the same as the questions, are not written; nor are images, which are
OpenI's.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from instruct.synth.files import start
from instruct.synth.keyed import Draws
from instruct.synth.openi import beside
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.rad_restruct_plan import RELEASE, plan_reports
from instruct.synth.rad_restruct_tree import questions

FOLDER = "data"
MAPPING = "id_to_img_mapping_frontal_reports.json"


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic Rad-ReStruct corpus, and the OpenI corpus beside it where there is none.

    Args:
        root: folder to write into.
        studies: number of OpenI reports, 20 or more; 3,955 gives the published counts.
        seed: any integer.
        images: also write OpenI's images, if OpenI's corpus is written.

    Returns:
        What was planted.

    Raises:
        UsageError: too few reports, or a Rad-ReStruct corpus is there already.
    """
    start(root, studies, (FOLDER,))
    beside(root, studies=studies, seed=seed, images=images)
    folder = root / FOLDER / "radrestruct"
    draws = Draws(seed, "rad_restruct")
    reports = plan_reports(studies, seed)
    traps: Counter[str] = Counter()
    counts, facts = {}, {}
    for split in RELEASE:
        chosen = [report for report in reports if report.split == split]
        (folder / f"{split}_qa_pairs").mkdir(parents=True)
        asked = 0
        for report in chosen:
            rows = questions(report.state, report.follow_ups, draws.stream("questions", report.index))
            asked += len(rows)
            paths = Counter(info["path"] for *_, info in rows)
            traps["questions_with_several_answers"] += sum(len(answers) > 1 for _, answers, *_ in rows)
            traps["questions_of_fixed_choice"] += sum(info["answer_type"] == "fixed_choice" for *_, info in rows)
            traps["questions_that_share_a_path"] += sum(number for number in paths.values() if number > 1)
            (folder / f"{split}_qa_pairs" / f"{report.number}.json").write_text(json.dumps(rows), "utf-8")
        shown = sum(len(report.images) for report in chosen)
        traps["reports_with_two_images"] += sum(len(report.images) > 1 for report in chosen)
        counts[split] = Counts(asked, shown, len(chosen))
        facts[split] = SplitFacts(len(chosen), shown, len(chosen), {}, {})
        numbers = [str(chosen[k].number) for k in draws.permutation(f"{split} ids", len(chosen))]
        _write(folder / f"{split}_ids.json", numbers)
    # Ordered by number as a text: 1, 10, 100, 1000, 2.
    mapping = {str(report.number): list(report.images) for report in reports}
    _write(folder / MAPPING, dict(sorted(mapping.items())))
    rows_of = {f"[{kind}-Ended VQA] [Rad-Restruct]": dict(counts) for kind in ("Open", "Close")}
    return Planted("rad_restruct", rows_of, dict(sorted(traps.items())), facts)


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2), "utf-8")
