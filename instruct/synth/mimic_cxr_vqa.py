"""Synthetic MIMIC-CXR-VQA: questions about frontal images of the synthetic MIMIC-CXR, with a split of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.mimic_cxr import beside
from instruct.synth.mimic_cxr_corpus import SPLITS, Picture, Study, corpus
from instruct.synth.mimic_linked import Example, count, facts, frontals
from instruct.synth.planted import Planted
from instruct.synth.quota import share

FOLDER = "dataset"
FILES = {"train": "train", "valid": "val", "test": "test"}

_ATTRIBUTES = ("lung opacity", "pleural effusion", "enlarged cardiac silhouette", "pneumothorax")
_PLACES = ("right lung", "left lung", "cardiac silhouette")


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic MIMIC-CXR-VQA corpus, and the MIMIC-CXR it is about beside it if that is not there.

    Args:
        root: folder to write into.
        studies: number of studies of the MIMIC-CXR corpus, 20 or more; those with a frontal image are asked about.
        seed: any integer.
        images: whether a MIMIC-CXR that is written beside it gets its images.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a MIMIC-CXR-VQA corpus is there already.
    """
    start(root, studies, (FOLDER,))
    beside(root, studies=studies, seed=seed, images=images)
    draws = Draws(seed, "mimic_cxr_vqa")
    found = [study for study in corpus(studies, seed) if frontals(study)]
    split = _own_split(draws, found)
    records: dict[str, list[dict[str, Any]]] = {name: [] for name in FILES}
    rows: dict[str, list[Example]] = {"Open-Ended VQA": [], "Close-Ended VQA": []}
    traps: Counter[str] = Counter()
    told: list[tuple[str, str]] = []
    asked = dict.fromkeys(FILES, 0)
    for study in found:
        name = split[study.subject_id]
        picture = frontals(study)[0]
        asked[name] += 1
        traps["studies_of_another_official_split"] += FILES[name] != SPLITS[study.split]
        for question in _questions(study, picture, draws.stream(name, asked[name]), asked[name]):
            records[name].append(_record(name, len(records[name]), study, picture, question))
            told.append((FILES[name], question["question"]))
            kind = question.pop("kind")
            if kind not in ("open", "closed"):
                traps[f"questions_{kind}"] += 1
            example = Example(FILES[name], study.study, (picture.path,))
            if kind in ("open", "closed", "abnormalities_of_a_place"):
                rows["Open-Ended VQA"].append(example)
            if kind in ("closed", "abnormalities_of_a_place"):
                rows["Close-Ended VQA"].append(example)
    (root / FOLDER).mkdir()
    for name, every in records.items():
        indent = orjson.OPT_INDENT_2 if name == "valid" else 0
        (root / FOLDER / f"{name}.json").write_bytes(orjson.dumps(every, option=indent))
    vocabulary = sorted({answer for every in records.values() for record in every for answer in record["answer"]})
    index = {answer: number for number, answer in enumerate(vocabulary)}
    (root / FOLDER / "ans2idx.json").write_bytes(orjson.dumps(index))
    counts = {f"[{task}] [MIMIC-CXR-VQA]": count(examples) for task, examples in rows.items()}
    return Planted("mimic_cxr_vqa", counts, dict(sorted(traps.items())), facts(found, {"question": told}))


def _own_split(draws: Draws, found: Sequence[Study]) -> dict[int, str]:
    """Split of each patient, in no relation to MIMIC-CXR's: a sixth of the studies each in valid and test."""
    sizes = Counter(study.subject_id for study in found)
    held_out = share(1, 6, len(found), at_least=1)
    quotas = {"train": len(found) - 2 * held_out, "valid": held_out, "test": held_out}
    left = dict(quotas)
    patients = list(sizes)
    shuffled = [patients[int(place)] for place in draws.permutation("patients", len(patients))]
    names = {}
    # The largest first, each to where most is missing: those with one study then fill every split to its quota.
    for patient in sorted(shuffled, key=lambda patient: -sizes[patient]):
        fits = [name for name in FILES if left[name] >= sizes[patient]] or ["train"]
        names[patient] = max(fits, key=lambda name: left[name] / quotas[name])
        left[names[patient]] -= sizes[patient]
    return names


def _questions(study: Study, picture: Picture, stream: Stream, number: int) -> Iterator[dict[str, Any]]:
    """Questions of a study; ``kind`` says which rows they belong to, and depends on nothing but the study's number."""
    state = study.state
    flags = (state.opacity, state.effusion_right or state.effusion_left, state.heart, state.pneumothorax)
    seen = [name for name, flag in zip(_ATTRIBUTES, flags, strict=True) if flag]
    place = stream.pick(_PLACES)

    def question(kind: str, semantic: str, content: str, text: str, answer: list[str]) -> dict[str, Any]:
        return {"kind": kind, "semantic_type": semantic, "content_type": content, "question": text, "answer": answer}

    def verdict(flag: object) -> list[str]:
        return ["yes" if flag else "no"]

    attribute = stream.pick(_ATTRIBUTES)
    text = f"Are there signs of {attribute} in the {place}?"
    yield question("closed", "verify", "presence", text, verdict(attribute in seen))
    if number % 2:
        view = "ap" if picture.view.startswith("AP") else "pa"
        yield question("open", "choose", "plane", "Is this an AP or a PA image?", [view])
    else:
        sex = "f" if study.subject_id % 2 else "m"
        yield question("open", "query", "gender", "What is the gender of the patient?", [sex])
    if number % 3 == 0:
        yield question("without_answer", "query", "abnormality", f"What tubes are there in the {place}?", [])
    elif number % 3 == 1:
        text = "What are all the findings that can be seen?"
        yield question("open", "query", "abnormality", text, sorted(seen) or ["no finding"])
    if number % 4 == 1:
        text = f"Are there any abnormalities in the {place}?"
        yield question("abnormalities_of_a_place", "verify", "abnormality", text, verdict(seen))
    if number % 4 == 2:
        text = "Can you see any abnormalities?"
        yield question("abnormalities_anywhere", "verify", "abnormality", text, verdict(seen))


def _record(name: str, idx: int, study: Study, picture: Picture, question: dict[str, Any]) -> dict[str, Any]:
    numbers: tuple[Any, Any] = (study.subject_id, study.study_id)
    if name != "valid":  # texts in some copies, numbers in others
        numbers = (str(study.subject_id), str(study.study_id))
    return {
        "split": name,
        "idx": idx,
        "subject_id": numbers[0],
        "study_id": numbers[1],
        "image_id": picture.dicom_id,
        "image_path": picture.path,
        "question": question["question"],
        "semantic_type": question["semantic_type"],
        "content_type": question["content_type"],
        "template": "Are there signs of ${attribute} in the ${object}?",
        "template_program": "program_1",
        "template_arguments": {
            "object": {"0": _PLACES[0]},
            "attribute": {"0": _ATTRIBUTES[0]},
            "category": {},
            "viewpos": {},
            "gender": {},
        },
        "answer": question["answer"],
    }
