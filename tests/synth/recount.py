"""Counts of a written corpus by the plainest reading of its files; shares nothing with the package."""

import json
import math
import re
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path

WORDS = [
    "new", "change", "unchanged", "prior", "stable", "interval", "previous", "again", "increased", "improve",
    "remain", "worse", "persistent", "remov", "decrease", "similar", "earlier", "recurrence", "redemonstrate",
]  # fmt: skip
PREFIXES = {"train": "train", "val": "valid", "test": "test"}


def has_word(text):
    return isinstance(text, str) and any(word in text.lower() for word in WORDS)


def only_inside_longer_words(text):
    rest = re.sub(r"degenerative changes|against|remainder", "", text.lower())
    return has_word(text) and not any(word in rest for word in WORDS)


def openi(root: Path):
    findings, impression, summary, reports = [], [], [], {}
    for path in sorted((root / "ecgen-radiology").iterdir()):
        tree = ET.parse(path).getroot()
        texts = {e.get("Label"): "".join(e.itertext()) for e in tree.iter("AbstractText")}
        images = [e.get("id") for e in tree.iter("parentImage")]
        reports[int(path.stem)] = (tree, texts, images)
        f, i = texts["FINDINGS"].strip(), texts["IMPRESSION"].strip()
        if f and images:
            findings.append(images)
        if i and images:
            impression.append(images)
        if f and i:
            summary.append([])
    rows = {
        name: (len(rows), len({image for images in rows for image in images}), len(rows))
        for name, rows in (
            ("[Findings Generation] [OpenI]", findings),
            ("[Impression Generation] [OpenI]", impression),
            ("[Findings Summarization] [OpenI]", summary),
        )
    }
    return rows, reports


def rex_records(root: Path, split: str):
    path = root / "metadata" / f"{PREFIXES[split]}_metadata_view_position.json"
    return json.loads(path.read_text(encoding="utf-8"))


def rank(view):
    order = ["PA", "POSTERO_ANTERIOR", "AP", "ANTERO_POSTERIOR", "AP AXIAL"]
    if view in order:
        return order.index(view)
    if view in (None, "UNKNOWN", "N/A"):
        return 6
    if view in ("LAO", "RAO", "LPO", "RPO", "OBLIQUE"):
        return 7
    if view in ("LATERAL", "LAT", "LL"):
        return 8
    return 5


def key_place(record):
    ranks = [rank(view) for view in record["ImageViewPosition"]]
    return ranks.index(min(ranks))


def missing(value):
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def priors(records):
    """Key of each study → key of the study before it, for studies that have one."""
    patients = defaultdict(list)
    for key, record in records.items():
        order = (int(record["StudyDate"]), not missing(record["Comparison"]), key)
        patients[record["PatientID"]].append((order, key))
    found = {}
    for studies in patients.values():
        keys = [key for _, key in sorted(studies)]
        found.update(zip(keys[1:], keys[:-1], strict=True))
    return found


def rex(records):
    """Rows of one split, and every trap that can be counted from the files."""
    prior = priors(records)
    picture = {key: record["ImagePath"][key_place(record)] for key, record in records.items()}
    n = len(records)
    rows = {
        "[Findings Generation] [REX-Gradient]": (n, len(set(picture.values())), n),
        "[Impression Generation] [REX-Gradient]": (n, len(set(picture.values())), n),
    }
    for section in ("Findings", "Impression"):
        kept = [key for key in prior if has_word(records[key][section])]
        images = {picture[k] for key in kept for k in (key, prior[key])}
        rows[f"[Progression {section} Generation] [REX-Gradient]"] = (len(kept), len(images), len(kept))
    fit = [r for r in records.values() if not any(mark in r["Impression"] for mark in ("___", "a.m.", "p.m."))]
    rows["[Findings Summarization] [REX-Gradient]"] = (len(fit), 0, len(fit))
    return rows, rex_traps(records, prior)


def rex_traps(records, prior):
    traps = Counter()
    for key, record in records.items():
        words = {name: has_word(record[name]) for name in ("Findings", "Impression", "Comparison", "Indication")}
        f, i = words["Findings"], words["Impression"]
        if key in prior:
            traps["pairs"] += 1
            traps["pair_with_keyword_in_findings_not_impression"] += f and not i
            traps["pair_with_keyword_in_impression_not_findings"] += i and not f
            if not f and not i:
                traps["pair_without_keyword"] += not words["Comparison"] and not words["Indication"]
                traps["pair_with_keyword_only_in_comparison"] += words["Comparison"] and not words["Indication"]
                traps["pair_with_keyword_only_in_indication"] += words["Indication"] and not words["Comparison"]
            for section in ("Findings", "Impression"):
                if only_inside_longer_words(record[section]):
                    trap = re.search(r"degenerative changes|against|remainder", record[section].lower())[0]
                    traps[f"pair_{section.lower()}_substring_trap_{trap.replace(' ', '_')}"] += 1
            before = records[prior[key]]
            if int(before["StudyDate"]) == int(record["StudyDate"]):
                by = "study_key" if missing(record["Comparison"]) else "missing_comparison"
                traps[f"same_day_pair_ordered_by_{by}"] += 1
        else:
            traps["first_study_with_keyword_in_findings"] += f
            traps["first_study_with_keyword_in_impression"] += i
        marked = [any(m in record[s] for m in ("___", "a.m.", "p.m.")) for s in ("Findings", "Impression")]
        traps["impression_unfit_for_summarization"] += marked[1]
        traps["unfit_substring_only_in_findings"] += marked[0] and not marked[1]
        traps["impression_with_clock_time_without_dots"] += bool(re.search(r"\d [AP]M\.", record["Impression"]))
        traps["study_date_as_string"] += isinstance(record["StudyDate"], str)
        traps["age_missing"] += missing(record["PatientAge"])
        ranks = [rank(view) for view in record["ImageViewPosition"]]
        chosen = min(ranks)
        if chosen < 5:
            traps["key_image_lateral_listed_first"] += ranks[0] == 8
            traps["key_image_better_frontal_listed_later"] += chosen < ranks[0] < 7
            traps["key_image_tie_by_list_order"] += ranks[0] == chosen and ranks.count(chosen) > 1
        traps["key_image_without_frontal_label"] += chosen == 6
        traps["key_image_only_lateral_or_oblique"] += chosen > 6
        traps["key_image_odd_label"] += chosen == 5
    return traps


def age_bin(text):
    if missing(text):
        return "missing"
    years = int(text[:3]) if text.endswith("Y") else 0
    return "80+" if years >= 80 else f"{years // 20 * 20}-{years // 20 * 20 + 20}"
