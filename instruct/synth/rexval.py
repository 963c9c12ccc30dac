"""Synthetic ReXVal: candidate impressions for test studies of the synthetic MIMIC-CXR, rated by six raters."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from instruct.synth import mimic_cxr
from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.planted import Counts, Planted, SplitFacts

REPORTS = "50_samples_gt_and_candidates.csv"
RATINGS = "6_valid_raters_per_rater_error_categories.csv"
METHODS = ("radgraph", "bertscore", "s_emb", "bleu")
ROW = "[Report Evaluation] [ReXVal]"

_STUDIES = 50
_RATERS = 6
_CATEGORIES = 6


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic ReXVal corpus, and the MIMIC-CXR corpus beside it where there is none.

    Args:
        root: folder to write into.
        studies: number of MIMIC-CXR studies, 20 or more; up to 50 of its test studies are rated.
        seed: any integer.
        images: also write MIMIC-CXR's images, if its corpus is written.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a ReXVal corpus is there already.
    """
    start(root, studies, (REPORTS, RATINGS))
    mimic_cxr.beside(root, studies=studies, seed=seed, images=images)
    draws = Draws(seed, "rexval")
    found = mimic_cxr.corpus(studies, seed)
    written = [study.sections.impression for study in found if study.sections.impression]
    rated = [study for study in found if study.split == "test" and study.sections.impression]
    rated = [rated[k] for k in draws.permutation("studies", len(rated))[:_STUDIES]]
    traps: Counter[str] = Counter()
    ratings: list[Sequence[object]] = []
    with (root / REPORTS).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(("study_id", "gt_report", *METHODS))
        for number, study in enumerate(rated):
            stream = draws.stream("candidates", number)
            candidates = [stream.pick(written) for _ in METHODS]
            table.writerow((study.study_id, study.sections.impression, *candidates))
            for method in METHODS:
                for category in range(1, _CATEGORIES + 1):
                    ratings += _ratings(number, method, category, stream, traps)
    with (root / RATINGS).open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ("study_number", "candidate_type", "error_category", "rater_index", "clinically_significant", "num_errors")
        )
        table.writerows(ratings)
    nothing = Counts(0, 0, 0)
    test = Counts(len(METHODS) * len(rated), 0, len(rated))
    return Planted(
        "rexval",
        {ROW: {"train": nothing, "val": nothing, "test": test}},
        dict(sorted(traps.items())),
        {"test": SplitFacts(len(rated), 0, len({study.patient for study in rated}), {}, {})},
    )


def _ratings(
    number: int, method: str, category: int, stream: Stream, traps: Counter[str]
) -> list[tuple[int, str, int, int, bool, int]]:
    """Rows of one candidate and category: four raters agree, or three and three; now and then one says nothing."""
    agreed = stream.pick((0, 0, 0, 1, 1, 2))
    if stream.chance(0.15):
        counts = [agreed] * 3 + [agreed + 1 + stream.below(2)] * 3
        traps["ties"] += 1
    else:
        counts = [agreed] * 4 + [stream.below(4), stream.below(4)]
    if stream.chance(0.05):
        counts.pop()  # the last one: what is most frequent stays so, and a tie ends
        traps["ratings_left_out"] += 1
    turn = stream.below(_RATERS)
    rows = []
    for place, errors in enumerate(counts):
        rater = (place + turn) % _RATERS
        # The insignificant errors, which the row does not show, are others.
        for significant, count in ((True, errors), (False, 1 + stream.below(3))):
            rows.append((number, method, category, rater, significant, count))
    return sorted(rows, key=lambda row: (row[3], not row[4]))
