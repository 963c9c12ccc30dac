"""Synthetic REX-Gradient (ReXGradient-160K): ``metadata/*.json``, ``metadata/*.csv`` and 16-bit ``deid_png/``.

A corpus of 160,000 studies has the published count-table numbers; a smaller one has them in proportion.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np

from instruct.synth.chains import Flags, count_overlap
from instruct.synth.files import start
from instruct.synth.grammar import TRAP_VOICES, Voice
from instruct.synth.keyed import Draws
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.rexgradient_plan import AGE_BINS, PUBLISHED, SEXES, VOICES, Plan, Tie, plan_split, split_sizes
from instruct.synth.rexgradient_records import IMAGES, SECTIONS, Records
from instruct.synth.rexgradient_views import PATTERNS

METADATA = "metadata"
FILE_PREFIX = {"train": "train", "val": "valid", "test": "test"}

_ENTRY = json.JSONEncoder(ensure_ascii=False)
_CSV_COLUMNS = (
    "id", "PatientID", "AccessionNumber", "StudyInstanceUid", "PatientSex", "PatientAge", "EthnicGroup",
    "PatientWeight", "StudyDate", "InstitutionName", "Manufacturer", *SECTIONS,
)  # fmt: skip


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic REX-Gradient corpus.

    Args:
        root: folder to write into.
        studies: studies over all splits, 20 or more; 160,000 gives the published counts.
        seed: any integer.
        images: also write the PNG files.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a REX-Gradient corpus is there already.
    """
    start(root, studies, (METADATA, IMAGES))
    (root / METADATA).mkdir()
    rows: dict[str, dict[str, Counts]] = {}
    traps: Counter[str] = Counter()
    facts: dict[str, SplitFacts] = {}
    for split, size in split_sizes(studies).items():
        draws = Draws(seed, "rexgradient", split)
        plan = plan_split(draws, PUBLISHED[split], size)
        words, texts = _write_split(root, split, seed, plan, images=images)
        for row, counts in _counts(plan).items():
            rows.setdefault(row, {})[split] = counts
        traps.update(_traps(plan))
        facts[split] = _facts(plan, words, texts)
    return Planted("rexgradient", rows, dict(sorted(traps.items())), facts)


def _write_split(root: Path, split: str, seed: int, plan: Plan, *, images: bool) -> tuple[Counter[str], Counter[str]]:
    words: Counter[str] = Counter({section.lower(): 0 for section in SECTIONS})
    texts: Counter[str] = Counter(words)
    stem = root / METADATA / f"{FILE_PREFIX[split]}_metadata"
    records = Records(seed, split, plan)
    with (
        stem.with_name(f"{stem.name}_view_position.json").open("w", encoding="utf-8", newline="\n") as entries,
        stem.with_name(f"{stem.name}.csv").open("w", encoding="utf-8", newline="") as table,
    ):
        lines = csv.writer(table, lineterminator="\n")
        lines.writerow(_CSV_COLUMNS)
        separator = "{"
        for k in records.file_order():
            key, record = records.record(k)
            entries.write(f'{separator}\n"{key}": {_ENTRY.encode(record)}')
            separator = ","
            values = [record[column] for column in _CSV_COLUMNS[1:]]
            lines.writerow([key, *("" if value is None or value != value else value for value in values)])
            for section in SECTIONS:
                text = record[section]
                count = len(text.split()) if isinstance(text, str) else 0
                words[section.lower()] += count
                texts[section.lower()] += count > 0
            if images:
                records.draw(root, k, record)
        entries.write("\n}\n")
    return words, texts


def _counts(plan: Plan) -> dict[str, Counts]:
    n = len(plan)
    every = Counts(n, n, n)
    kept = n - len(plan.unwanted)

    def progression(rows: Flags) -> Counts:
        examples = int(rows.sum())
        return Counts(examples, 2 * examples - count_overlap(rows), examples)

    return {
        "[Findings Generation] [REX-Gradient]": every,
        "[Impression Generation] [REX-Gradient]": every,
        "[Progression Findings Generation] [REX-Gradient]": progression(plan.findings_rows),
        "[Progression Impression Generation] [REX-Gradient]": progression(plan.impression_rows),
        "[Findings Summarization] [REX-Gradient]": Counts(kept, 0, kept),
    }


def _traps(plan: Plan) -> dict[str, int]:
    first = plan.chains.position == 0
    findings, impression = plan.findings_rows, plan.impression_rows
    plain = VOICES.index(Voice.PLAIN)

    def count(mask: Flags) -> int:
        return int(mask.sum())

    traps = {
        "pairs": count(~first),
        "pair_without_keyword": count(~first & ~findings & ~impression & (plan.elsewhere == 0)),
        "pair_with_keyword_only_in_comparison": count(plan.elsewhere == 1),
        "pair_with_keyword_only_in_indication": count(plan.elsewhere == 2),
        "pair_with_keyword_in_findings_not_impression": count(findings & ~impression),
        "pair_with_keyword_in_impression_not_findings": count(impression & ~findings),
        "first_study_with_keyword_in_findings": count(first & (plan.findings_voice != plain)),
        "first_study_with_keyword_in_impression": count(first & (plan.impression_voice != plain)),
        "same_day_pair_ordered_by_missing_comparison": count(plan.tie == Tie.BY_COMPARISON),
        "same_day_pair_ordered_by_study_key": count(plan.tie == Tie.BY_KEY),
        "impression_unfit_for_summarization": len(plan.unwanted),
        "unfit_substring_only_in_findings": len(plan.clock_findings),
        "impression_with_clock_time_without_dots": len(plan.clock_plain),
        "study_date_as_string": count(plan.text_date),
        "age_missing": count(plan.age_days < 0),
    }
    for voice in TRAP_VOICES:
        name = voice.value.replace(" ", "_")
        traps[f"pair_findings_substring_trap_{name}"] = count(findings & (plan.findings_voice == VOICES.index(voice)))
        traps[f"pair_impression_substring_trap_{name}"] = count(
            impression & (plan.impression_voice == VOICES.index(voice))
        )
    for pattern, studies in zip(PATTERNS, _per_pattern(plan), strict=True):
        if pattern.trap:
            traps[pattern.trap] = traps.get(pattern.trap, 0) + studies
    return traps


def _per_pattern(plan: Plan) -> list[int]:
    return [int(n) for n in np.bincount(plan.pattern, minlength=len(PATTERNS))]


def _facts(plan: Plan, words: Counter[str], texts: Counter[str]) -> SplitFacts:
    views: Counter[str] = Counter()
    key_views: Counter[str] = Counter()
    images = 0
    for pattern, studies in zip(PATTERNS, _per_pattern(plan), strict=True):
        if studies:
            images += studies * len(pattern.labels)
            key_views[pattern.labels[pattern.key] or "null"] += studies
            for label in pattern.labels:
                views[label or "null"] += studies
    known = plan.age_days >= 0
    ages = {name: int((known & (plan.age_bin == i)).sum()) for i, name in enumerate(AGE_BINS)}
    ages["missing"] = int((~known).sum())
    sexes = {name: int((plan.sex == i).sum()) for i, name in enumerate(SEXES)}
    return SplitFacts(
        len(plan), images, len(plan.chains.lengths), dict(words), dict(texts), ages, sexes,
        dict(sorted(views.items())), dict(sorted(key_views.items())),
    )  # fmt: skip
