"""Synthetic MS-CXR: phrases about images of the synthetic MIMIC-CXR, with the boxes of what is drawn there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from instruct.synth.canvas import Box
from instruct.synth.files import start
from instruct.synth.keyed import Draws
from instruct.synth.mimic_cxr import beside
from instruct.synth.mimic_cxr_corpus import SPLITS, Picture, Study, corpus, drawing
from instruct.synth.mimic_cxr_reports import csv_text
from instruct.synth.mimic_linked import Example, count, facts, frontals, write_csv
from instruct.synth.planted import Counts, Planted
from instruct.synth.state import ZONES, ChestState

FILE = "MS_CXR_Local_Alignment_v{}.csv"
_HEADER = (
    "dicom_id", "category_name", "label_text", "path", "x", "y", "w", "h", "image_width", "image_height",
)  # fmt: skip
_RELEASE_SPLITS = ("train", "train", "val", "test")
_GRADES = ("", "subtle", "evident", "dense")
_SIZES = ("", "thin", "moderate", "voluminous")
# Every phrase that is no report text has a word that no report of the corpus has.
_OWN_WORD = "delineated"


@dataclass(frozen=True)
class _Phrase:
    """A phrase about one image.

    Attributes:
        text: the phrase.
        categories: its categories; more than one is filed as often.
        boxes: its boxes, as shares.
        section: whether it stands in the report as it is.
        kind: what is special about it.
    """

    text: str
    categories: tuple[str, ...]
    boxes: tuple[Box, ...]
    section: bool = False
    kind: str = ""


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True, release: str = "1.1.0") -> Planted:
    """Write a synthetic MS-CXR corpus, and the MIMIC-CXR it is about beside it if that is not there.

    Args:
        root: folder to write into.
        studies: number of studies of the MIMIC-CXR corpus, 20 or more.
        seed: any integer.
        images: whether a MIMIC-CXR that is written beside it gets its images.
        release: 1.1.0, which has a column ``split``, or 1.0.0.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or an MS-CXR corpus is there already.
    """
    path = root / FILE.format(release)
    start(root, studies, (path.name,))
    beside(root, studies=studies, seed=seed, images=images)
    draws = Draws(seed, "ms_cxr")
    rows: list[tuple[object, ...]] = []
    spoken: list[tuple[Study, Picture, _Phrase]] = []
    chosen = _chosen(draws, corpus(studies, seed))
    for study, rank in chosen.items():
        picture = frontals(study)[0]
        for phrase in _phrases(study, picture, rank, seed):
            spoken.append((study, picture, phrase))
            rows += _rows(study, picture, phrase)
    order = draws.permutation("rows", len(rows))
    ended = 10 + (release != "1.0.0")
    header = (*_HEADER, "split")
    written = [rows[int(k)] for k in order]
    write_csv(path, header[:ended], (row[:ended] for row in written))
    path.with_suffix(".json").write_text(json.dumps(_coco(written)))
    return Planted("ms_cxr", _counts(spoken), _traps(spoken), facts(chosen, {"phrase": _texts(spoken)}))


def _chosen(draws: Draws, found: Sequence[Study]) -> dict[Study, int]:
    """A third of the studies of each split, and their number in it, from 0; the report of number 0 has findings."""
    chosen: dict[Study, int] = {}
    for split in SPLITS:
        every = [study for study in found if study.split == split]
        good = [study for study in every if study.sectioned and frontals(study)]
        first = next(study for study in good if study.sections.findings)
        order = [good[int(k)] for k in draws.permutation(split, len(good))]
        some = [first, *(study for study in order if study is not first)][: 1 + len(every) // 3]
        chosen |= {study: rank for rank, study in enumerate(some)}
    return chosen


def _phrases(study: Study, picture: Picture, rank: int, seed: int) -> Iterator[_Phrase]:
    """Phrases about an image; how many depends on nothing but its number."""
    boxes = drawing(study, picture, seed).boxes
    yield _quoted(study, boxes["heart"], in_capitals=rank % 5 == 4)
    if rank % 2:
        yield _described(study.state, boxes)
    if rank % 4 == 1:
        below = (*boxes["heart"][:3], 1.02)  # reaches over the lower edge of the image
        text = f"cardiac contour, {_OWN_WORD} with the diaphragm"
        yield _Phrase(text, ("Cardiomegaly",), (below,), kind="box_over_the_edge")


def _quoted(study: Study, heart: Box, *, in_capitals: bool) -> _Phrase:
    """A sentence of the report, on the heart where there is one."""
    told = study.sections
    section = told.findings or told.impression or told.last_paragraph or ""
    sentences = [sentence.rstrip(".") for sentence in section.split(". ")]
    of_heart = [sentence for sentence in sentences if "heart" in sentence.lower() or "cardi" in sentence.lower()]
    sentence = (of_heart or sorted(sentences, key=len)[-1:])[0]
    if in_capitals:  # found only by a search that takes no account of capitals
        return _Phrase(sentence.upper(), ("Cardiomegaly",), (heart,), kind="in_capitals")
    kind = "" if sentence in csv_text(section) else "over_a_line"
    return _Phrase(sentence, ("Cardiomegaly",), (heart,), section=True, kind=kind)


def _described(state: ChestState, boxes: Mapping[str, Box]) -> _Phrase:
    """A phrase that no report has, about what is drawn."""
    effusions = tuple(boxes[f"{side} effusion"] for side in ("right", "left") if f"{side} effusion" in boxes)
    if "opacity" in boxes:
        text = f"{_GRADES[state.opacity]} opacity, {_OWN_WORD} in the {ZONES[state.zone]} zone"
        if state.opacity == 3:
            return _Phrase(text, ("Consolidation", "Pneumonia"), (boxes["opacity"],), kind="two_categories")
        return _Phrase(text, ("Lung Opacity",), (boxes["opacity"],))
    if effusions:
        text = f"{_SIZES[max(state.effusion_right, state.effusion_left)]} pleural effusion, {_OWN_WORD}"
        return _Phrase(text, ("Pleural Effusion",), effusions, kind="two_boxes" if len(effusions) > 1 else "")
    if "pneumothorax" in boxes:
        return _Phrase(f'{_OWN_WORD} "rim" of air', ("Pneumothorax",), (boxes["pneumothorax"],))
    lungs = (boxes["right lung"], boxes["left lung"])
    return _Phrase(f"both lungs, {_OWN_WORD}", ("Atelectasis",), lungs, kind="two_boxes")


def _rows(study: Study, picture: Picture, phrase: _Phrase) -> Iterator[tuple[object, ...]]:
    # A split of the release's own, which does not follow MIMIC-CXR's.
    split = _RELEASE_SPLITS[study.subject_id % len(_RELEASE_SPLITS)]
    for category in phrase.categories:
        for left, top, right, bottom in phrase.boxes:
            x, y = int(left * picture.width), int(top * picture.height)
            w, h = int(right * picture.width) - x, int(bottom * picture.height + 0.5) - y
            yield (
                picture.dicom_id, category, phrase.text, f"files/{picture.path}", x, y, max(w, 1), max(h, 1),
                picture.width, picture.height, split,
            )  # fmt: skip


def _coco(rows: Sequence[tuple[object, ...]]) -> dict[str, object]:
    """The same rows as a COCO file, whose numbers of images and categories mean nothing."""
    images = {str(row[0]): number for number, row in enumerate(sorted(rows, key=lambda row: str(row[0])), 1)}
    categories = {name: number for number, name in enumerate(sorted({str(row[1]) for row in rows}), 1)}
    about = {str(row[0]): row for row in rows}
    return {
        "info": {"description": "synthetic"},
        "licenses": [],
        "categories": [{"id": number, "name": name, "supercategory": ""} for name, number in categories.items()],
        "images": [
            {
                "id": number,
                "file_name": f"{dicom_id}.jpg",
                "path": about[dicom_id][3],
                "width": about[dicom_id][8],
                "height": about[dicom_id][9],
            }
            for dicom_id, number in images.items()
        ],
        "annotations": [
            {
                "id": number,
                "image_id": images[str(row[0])],
                "category_id": categories[str(row[1])],
                "label_text": row[2],
                "bbox": row[4:8],
                "width": row[8],
                "height": row[9],
            }
            for number, row in enumerate(rows, 1)
        ],
    }


def _counts(spoken: Sequence[tuple[Study, Picture, _Phrase]]) -> dict[str, dict[str, Counts]]:
    examples = [
        (Example(SPLITS[study.split], study.study, (picture.path,)), phrase) for study, picture, phrase in spoken
    ]
    every = count(example for example, _ in examples)
    quoted = count(example for example, phrase in examples if phrase.section)
    tasks = {"Phrase Grounding": every, "Grounded Captioning": every, "Grounded Diagnosis": every}
    return {f"[{task}] [MS-CXR]": counts for task, counts in (tasks | {"Grounded Phrase Extraction": quoted}).items()}


def _traps(spoken: Sequence[tuple[Study, Picture, _Phrase]]) -> dict[str, int]:
    kinds = Counter(f"phrases_{phrase.kind}" for _, _, phrase in spoken if phrase.kind)
    outside = sum(SPLITS[study.split] != _RELEASE_SPLITS[study.subject_id % 4] for study, _, _ in spoken)
    kinds.update(phrases_of_another_release_split=outside)
    return dict(sorted(kinds.items()))


def _texts(spoken: Sequence[tuple[Study, Picture, _Phrase]]) -> list[tuple[str, str]]:
    return [(SPLITS[study.split], phrase.text) for study, _, phrase in spoken]
