"""What a synthetic MIMIC-CXR is known to contain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from instruct.synth.grammar import Voice
from instruct.synth.mimic_cxr_corpus import SPLITS, Picture, Study, pair_images
from instruct.synth.mimic_cxr_labels import is_positive
from instruct.synth.mimic_cxr_plan import VOICES, Labels, Plan
from instruct.synth.mimic_cxr_reports import Sections
from instruct.synth.planted import Counts, SplitFacts


def planted_counts(found: Sequence[Study]) -> dict[str, dict[str, Counts]]:
    """Count-table rows of a corpus."""
    told = {study: study.sections if study.sectioned else Sections() for study in found}

    def row(keeps: Callable[[Study], bool], shows: Callable[[Study], Iterable[Picture]]) -> dict[str, Counts]:
        counts = {}
        for split, name in SPLITS.items():
            kept = [study for study in found if study.split == split and keeps(study)]
            images = {picture.path for study in kept for picture in shows(study)}
            counts[name] = Counts(len(kept), len(images), len(kept))
        return counts

    def every(study: Study) -> Iterable[Picture]:
        return study.images

    def pair(study: Study) -> Iterable[Picture]:
        return pair_images(found[study.prior or 0], study)

    def views(split: str) -> Counts:
        kept = {
            study: sum(picture.view in ("AP", "PA", "LATERAL", "LL") for picture in study.images)
            for study in found
            if study.split == split
        }
        images = sum(kept.values())
        return Counts(images, images, sum(count > 0 for count in kept.values()))

    asked = {study for study in found if study.sections.indication is not None}
    rows = {
        "Image Classification": row(lambda study: is_positive(study.labels), every),
        "View Classification": {name: views(split) for split, name in SPLITS.items()},
        "Findings Generation": row(lambda study: told[study].findings_kept, every),
        "Findings Generation with Indication": row(lambda s: told[s].findings_kept and s in asked, every),
        "Impression Generation": row(lambda study: told[study].impression_kept, every),
        "Impression Generation with Indication": row(lambda s: told[s].impression_kept and s in asked, every),
        "Progression Findings Generation": row(lambda s: s.prior is not None and told[s].findings_change, pair),
        "Progression Impression Generation": row(lambda s: s.prior is not None and told[s].impression_change, pair),
        "Findings Summarization": row(
            lambda s: bool(told[s].findings and told[s].impression) and not told[s].impression_clock, lambda s: ()
        ),
    }
    return {f"[{task}] [MIMIC-CXR]": counts for task, counts in rows.items()}


def planted_traps(found: Sequence[Study], plans: Mapping[str, Plan]) -> dict[str, int]:
    """Traps of a corpus."""
    every = list(plans.values())
    pairs = [(found[study.prior], study) for study in found if study.prior is not None]

    def voiced(plan: Plan, voice: Voice) -> int:
        return int((plan.findings_voice[plan.chains.position > 0] == VOICES.index(voice)).sum())

    traps = {
        "studies_without_label_row": sum(study.labels is None for study in found),
        "labels_uncertain_counted_present": sum(int((plan.labels == Labels.SETTLES).sum()) for plan in every),
        "labels_uncertain_not_counted": sum(int((plan.labels == Labels.UNSETTLED).sum()) for plan in every),
        "blank_views": sum(not picture.view for study in found for picture in study.images),
        "times_without_leading_zero": sum(float(study.time) < 100_000 for study in found),
        "pairs": len(pairs),
        "pairs_of_one_day": sum(before.date == study.date for before, study in pairs),
        "pairs_of_one_moment": sum(len(plan.tied) for plan in every),
        "pairs_with_later_lower_study_id": sum(before.study_id > study.study_id for before, study in pairs),
        "pairs_not_first_images": sum(
            pair_images(before, study) != (before.images[0], study.images[0]) for before, study in pairs
        ),
        "pairs_speaking_plainly": sum(voiced(plan, Voice.PLAIN) for plan in every),
        "findings_of_earlier_study_only": sum(len(plan.findings_erased) for plan in every),
        "impression_of_earlier_study_only": sum(len(plan.impression_erased) for plan in every),
        "impression_with_clock_time": sum(len(plan.clock) for plan in every),
        "reports_with_addendum": sum(len(plan.addendum) for plan in every),
        "reports_with_wet_read": sum(len(plan.wet_read - plan.addendum) for plan in every),
        "reports_with_misspelled_heading": sum(len(plan.odd_header) for plan in every),
        "reports_with_view_as_heading": sum(len(plan.view_header) for plan in every),
        "reports_with_last_paragraph": sum(study.sections.last_paragraph is not None for study in found),
        "reports_not_sectioned": sum(not study.sectioned for study in found),
        "indication_removed_span_only": sum("INDICATION:  ___\n" in study.report for study in found),
    }
    return dict(sorted(traps.items()))


def split_facts(found: Sequence[Study]) -> dict[str, SplitFacts]:
    """Facts per split, by its name in the count table."""
    facts = {}
    for split, name in SPLITS.items():
        studies = [study for study in found if study.split == split]
        words: Counter[str] = Counter()
        texts: Counter[str] = Counter()
        for section in ("findings", "impression", "last_paragraph", "comparison", "indication"):
            told = [getattr(study.sections, section) for study in studies if study.sectioned or section == "indication"]
            words[section] = sum(len(text.split()) for text in told if text)
            texts[section] = sum(text is not None for text in told)
        views = Counter(picture.view or "null" for study in studies for picture in study.images)
        facts[name] = SplitFacts(
            len(studies), sum(views.values()), len({study.subject_id for study in studies}), dict(words), dict(texts),
            views=dict(sorted(views.items())),
        )  # fmt: skip
    return facts
