"""Synthetic MIMIC-Diff-VQA: questions about pairs of studies of the synthetic MIMIC-CXR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.mimic_cxr import beside
from instruct.synth.mimic_cxr_corpus import SPLITS, Picture, Study, corpus
from instruct.synth.mimic_cxr_labels import LABELS
from instruct.synth.mimic_linked import Example, count, facts, frontals, write_csv
from instruct.synth.planted import Planted
from instruct.synth.state import ZONES

QUESTIONS, STUDIES, DISEASES = "mimic_pair_questions.csv", "mimic_all.csv", "all_diseases.json"

_COUNTED = ("location", "level", "type")
_LEVELS = ("", "mild", "moderate", "severe")
_RELEASE_SPLITS = ("train", "test", "val", "train", "train")
_Question = tuple[str, str, str]


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic MIMIC-Diff-VQA corpus, and the MIMIC-CXR it is about beside it if that is not there.

    Args:
        root: folder to write into.
        studies: number of studies of the MIMIC-CXR corpus, 20 or more; each is paired with the two before it.
        seed: any integer.
        images: whether a MIMIC-CXR that is written beside it gets its images.

    Returns:
        What was planted. The trap ``questions_difference`` is the number of examples that the source's option
        ``question_types: [difference]`` gives.

    Raises:
        UsageError: too few studies, or a MIMIC-Diff-VQA corpus is there already.
    """
    start(root, studies, (QUESTIONS, STUDIES, DISEASES))
    beside(root, studies=studies, seed=seed, images=images)
    draws = Draws(seed, "mimic_diff_vqa")
    found = corpus(studies, seed)
    rows: list[tuple[object, ...]] = []
    examples: list[Example] = []
    traps: Counter[str] = Counter(differences_swapped=0, chosen_image_not_first=0)
    told: list[tuple[str, str]] = []
    for number, (main, reference) in enumerate(_pairs(found)):
        stream = draws.stream("pair", number)
        split = SPLITS[main.split]
        for kind, question, answer in _questions(main, reference, 1 + number % 3, stream):
            # Since 1.0.1 a difference row may name the two studies the other way round than the rows beside it.
            swapped = kind == "difference" and number % 4 == 3
            traps["differences_swapped"] += swapped
            traps[f"questions_{kind}"] += 1
            first, second = (reference, main) if swapped else (main, reference)
            release = _RELEASE_SPLITS[main.subject_id % len(_RELEASE_SPLITS)]
            rows.append((first.study_id, main.subject_id, second.study_id, kind, question, answer, release))
            if kind in _COUNTED:
                examples.append(Example(split, main.study, (chosen_image(main).path,)))
                told.append((split, answer))
    order = draws.permutation("rows", len(rows))
    header = ("study_id", "subject_id", "ref_id", "question_type", "question", "answer", "split")
    write_csv(root / QUESTIONS, header, (rows[int(k)] for k in order))
    _write_studies(root / STUDIES, found)
    (root / DISEASES).write_bytes(orjson.dumps([_diseases(study) for study in found]))
    traps["chosen_image_not_first"] = sum(chosen_image(study) is not study.images[0] for study in found)
    counts = {"[Difference VQA] [MIMIC-Diff-VQA]": count(examples)}
    return Planted("mimic_diff_vqa", counts, dict(sorted(traps.items())), facts(found, {"answer": told}))


def chosen_image(study: Study) -> Picture:
    """The image of a study: its last frontal one, or its first where it has none."""
    return (frontals(study) or list(study.images[:1]))[-1]


def _pairs(found: Sequence[Study]) -> Iterator[tuple[Study, Study]]:
    """Each study with the one before it of the same patient, and with the one before that."""
    for study in found:
        if study.prior is not None:
            before = found[study.prior]
            yield study, before
            if before.prior is not None:
                yield study, found[before.prior]


def _questions(main: Study, reference: Study, counted: int, stream: Stream) -> Iterator[_Question]:
    """Type, question and answer; a given number of them is of a type that is counted."""
    names = _findings(main)
    listed = sorted(sorted(names), key=lambda name: stream.below(1000))
    yield "abnormality", "what abnormalities are seen in this image?", ", ".join(listed) or "none"
    yield "presence", "is there pneumothorax?", "yes" if "pneumothorax" in names else "no"
    yield "view", "which view is this image taken?", "PA view" if chosen_image(main).view == "PA" else "AP view"
    state = main.state
    some: list[_Question] = []
    if state.effusion_right and state.effusion_left:
        sides = ("right side, left side", "left side, right side")  # shuffled in the release
        some.append(("location", "where in the image is the pleural effusion located?", stream.pick(sides)))
    if state.opacity:
        some.append(("location", "where in the image is the opacity located?", f"{ZONES[state.zone]} zone"))
        some.append(("level", "what level is the opacity?", _LEVELS[state.opacity]))
    if state.heart:
        some.append(("level", "what level is the cardiomegaly?", _LEVELS[state.heart]))
    some += [
        ("type", "what type is the support device?", "catheter" if state.device == 1 else "other"),
        ("location", "where in the image is the heart located?", "left of the midline"),
        ("level", "what level is the degenerative disease?", "moderate" if state.degenerative else "mild"),
    ]
    yield from some[:counted]
    gained, lost = sorted(names - _findings(reference)), sorted(_findings(reference) - names)
    parts = [f"an additional finding of {name}" for name in gained] + [f"no finding of {name}" for name in lost]
    text = f"the main image has {' and '.join(parts)} compared to the reference image."
    yield "difference", "what has changed compared to the reference image?", text if parts else "nothing has changed."


def _findings(study: Study) -> set[str]:
    state = study.state
    flags = {
        "lung opacity": state.opacity,
        "pleural effusion": state.effusion_right or state.effusion_left,
        "cardiomegaly": state.heart,
        "pneumothorax": state.pneumothorax,
    }
    return {name for name, present in flags.items() if present}


def _write_studies(path: Path, found: Sequence[Study]) -> None:
    first: dict[int, int] = {}
    rows = []
    for place, study in enumerate(found):
        start_of = first.setdefault(study.subject_id, place)
        dates = [other.date for other in found[start_of : place + 1]]
        labels = study.labels or dict.fromkeys(LABELS)
        picture = chosen_image(study)
        view = "postero-anterior" if picture.view == "PA" else "antero-posterior"
        # Rank by date within the patient; studies of one day share theirs.
        order = float(dates.index(study.date) + 1)
        release = _RELEASE_SPLITS[study.subject_id % len(_RELEASE_SPLITS)]
        rows.append(
            (study.subject_id, study.study_id, *labels.values(), picture.dicom_id, view, release, study.date, order)
        )
    header = ("subject_id", "study_id", *LABELS, "dicom_id", "view", "split", "study_date", "study_order")
    write_csv(path, header, rows)


def _diseases(study: Study) -> dict[str, object]:
    entity = {
        name: {
            "entity_name": name, "location": None, "type": None, "level": None, "post_location": None,
            "location2": None, "type2": None, "level2": None, "post_location2": None,
        }
        for name in sorted(_findings(study))
    }  # fmt: skip
    return {
        "study_id": str(study.study_id),
        "subject_id": str(study.subject_id),
        "entity": entity,
        "no_entity": [] if "pneumothorax" in entity else ["pneumothorax"],
    }
