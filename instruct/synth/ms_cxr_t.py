"""Synthetic MS-CXR-T: how findings develop between two studies of the synthetic MIMIC-CXR, and pairs of sentences."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.mimic_cxr import beside
from instruct.synth.mimic_cxr_corpus import SPLITS, corpus, pair_images
from instruct.synth.mimic_linked import Example, count, facts, write_csv
from instruct.synth.phrases import expand
from instruct.synth.planted import Planted
from instruct.synth.state import ChestState

COMPARISONS = "MS_CXR_T_temporal_image_classification_v1.0.0.csv"
SENTENCES = "MS_CXR_T_temporal_sentence_similarity_v1.0.0.csv"

_FINDINGS = ("consolidation", "edema", "pleural_effusion", "pneumonia", "pneumothorax")
_QUALITIES = ("one_expert", "one_expert", "multiple_experts", "disagreement")
# Labels of a pair, by its number; of two pairs in a row one has a label.
_HOW_MANY = (1, 2, 1, 0, 3, 1)
_SUBSETS = ("RadGraph", "RadGraph", "Swaps")
_KEYS = ("subject_id", "study_id", "dicom_id", "previous_study_id", "previous_dicom_id")
_THINGS = ("left effusion", "right basal opacity", "pulmonary edema", "apical pneumothorax", "perihilar consolidation")
_COURSES = {
    "up": expand("{The|Known} [thing] has {grown|become larger}.", "[thing] is {larger|more marked} now."),
    "down": expand("{The|Known} [thing] has {shrunk|partly cleared}.", "[thing] is {smaller|less marked} now."),
    "same": expand("{The|Known} [thing] has not altered.", "[thing] is {as it was|of the same extent as it was}."),
}


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic MS-CXR-T corpus, and the MIMIC-CXR it is about beside it if that is not there.

    Args:
        root: folder to write into.
        studies: number of studies of the MIMIC-CXR corpus, 20 or more; every one with an earlier study gives a pair.
        seed: any integer.
        images: whether a MIMIC-CXR that is written beside it gets its images.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or an MS-CXR-T corpus is there already.
    """
    start(root, studies, (COMPARISONS, SENTENCES))
    beside(root, studies=studies, seed=seed, images=images)
    draws = Draws(seed, "ms_cxr_t")
    found = corpus(studies, seed)
    rows: list[tuple[object, ...]] = []
    examples: list[Example] = []
    traps: Counter[str] = Counter(pairs_without_label=0, labels_of_disagreement=0, pairs_with_several_findings=0)
    for number, study in enumerate(study for study in found if study.prior is not None):
        prior = found[study.prior or 0]
        before, now = pair_images(prior, study)
        stream = draws.stream("pair", number)
        labels = _labels(prior.state, study.state, _HOW_MANY[number % len(_HOW_MANY)])
        qualities = [stream.pick(_QUALITIES) if label else "" for label in labels]
        rows.append(
            (
                study.subject_id, study.study_id, now.path.removesuffix(".jpg"), prior.study_id,
                before.path.removesuffix(".jpg"), *labels, *qualities,
            )
        )  # fmt: skip
        shown = Example(SPLITS[study.split], study.study, (before.path, now.path))
        examples += [shown for label in labels if label]
        traps["pairs_without_label"] += not any(labels)
        traps["pairs_with_several_findings"] += sum(map(bool, labels)) > 1
        traps["labels_of_disagreement"] += qualities.count("disagreement")
    header = (
        *_KEYS,
        *(f"{finding}_progression" for finding in _FINDINGS),
        *(f"{finding}_label_quality" for finding in _FINDINGS),
    )
    write_csv(root / COMPARISONS, header, rows)
    pairs = [_sentences(draws.stream("sentences", k), k) for k in range(max(8, studies // 2))]
    subsets = (_SUBSETS[k % len(_SUBSETS)] for k in range(len(pairs)))
    header = ("subset_name", "sentence_1", "sentence_2", "category")
    write_csv(root / SENTENCES, header, ((subset, *pair) for subset, pair in zip(subsets, pairs, strict=True)))
    counts = {
        "[Temporal Image Classification] [MS-CXR-T]": count(examples),
        "[Temporal Sentence Similarity] [MS-CXR-T]": count(Example("test", str(k)) for k in range(len(pairs))),
    }
    texts = {name: [("test", pair[side]) for pair in pairs] for side, name in ((0, "sentence_1"), (1, "sentence_2"))}
    about = [study for study in found if study.prior is not None]
    return Planted("ms_cxr_t", counts, dict(sorted(traps.items())), facts(about, texts))


def _labels(before: ChestState, now: ChestState, how_many: int) -> list[str]:
    """Course of some findings, of those first that an image shows; blank for the others."""
    levels = [
        (max(before.opacity - 1, 0), max(now.opacity - 1, 0)),
        (before.heart, now.heart),
        (before.effusion_left + before.effusion_right, now.effusion_left + now.effusion_right),
        (before.opacity, now.opacity),
        (int(before.pneumothorax > 0), int(now.pneumothorax > 0)),
    ]
    shown = sorted(range(len(levels)), key=lambda k: (not any(levels[k]), k))[:how_many]
    courses = ["stable" if old == new else "worsening" if new > old else "improving" for old, new in levels]
    return [course if k in shown else "" for k, course in enumerate(courses)]


def _sentences(stream: Stream, number: int) -> tuple[str, str, str]:
    thing = stream.pick(_THINGS)
    names = list(_COURSES)
    first = stream.pick(names)
    category = ("paraphrase", "contradiction")[number % 2]
    names.remove(first)
    second = first if category == "paraphrase" else stream.pick(names)
    one, *others = (text.replace("[thing]", thing) for text in _COURSES[first])
    other = stream.pick(others if second == first else [t.replace("[thing]", thing) for t in _COURSES[second]])
    return one[0].upper() + one[1:], other[0].upper() + other[1:], category
