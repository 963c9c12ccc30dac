"""Synthetic MIMIC-NLE: sentences that explain a diagnosis, about studies of the synthetic MIMIC-CXR."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.mimic_cxr import beside
from instruct.synth.mimic_cxr_corpus import SPLITS, Study, corpus
from instruct.synth.mimic_linked import Example, count, facts
from instruct.synth.phrases import expand
from instruct.synth.planted import Planted
from instruct.synth.state import ZONES

FOLDER, QUERY = "mimic-nle", "query"
FILES = ("train", "dev", "test")

_CLASSES = (
    "Atelectasis", "Consolidation", "Edema", "Enlarged Cardiomediastinum", "Lung Lesion", "Lung Opacity",
    "Pleural Effusion", "Pleural Other", "Pneumonia", "Pneumothorax",
)  # fmt: skip
_QUERY_FIELDS = ("sentence_ID", "diagnosis_label", "evidence_label", "img_labels")
_PLAIN = expand(
    "{Hazy|Patchy} [zone] opacity {may reflect|could represent|is suspicious for} [diagnosis].",
    "[zone] opacity {suggests|is compatible with} [diagnosis].",
)
_WITHOUT_EVIDENCE = expand("{Appearances|The appearances} {suggest|are those of} [diagnosis].")
_CHANGE = expand(
    "{New|Increased} [zone] opacity {may reflect|could represent} [diagnosis].",
    "Unchanged [zone] opacity is compatible with [diagnosis].",
)


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic MIMIC-NLE corpus, and the MIMIC-CXR it is about beside it if that is not there.

    Args:
        root: folder to write into.
        studies: number of studies of the MIMIC-CXR corpus, 20 or more.
        seed: any integer.
        images: whether a MIMIC-CXR that is written beside it gets its images.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a MIMIC-NLE corpus is there already.
    """
    start(root, studies, (FOLDER, QUERY))
    beside(root, studies=studies, seed=seed, images=images)
    draws = Draws(seed, "mimic_nle")
    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in FILES}
    told: list[tuple[Study, str, bool]] = []
    traps: Counter[str] = Counter(sentences_without_evidence=0, sentences_with_several_diagnoses=0)
    chosen = _chosen(draws, corpus(studies, seed))
    for number, (study, rank) in enumerate(chosen.items()):
        stream = draws.stream("study", number)
        # The release's files do not follow MIMIC-CXR's split; each holds something.
        file = FILES[number % 3] if number < 3 else FILES[min(stream.below(8), 2)]
        for k in range(1 + (rank % 3 == 0)):
            changes = k == 1 or rank % 5 in (2, 4)
            line = _line(study, 2 * k + stream.below(2), stream, changes=changes)
            lines[file].append(line)
            told.append((study, line["nle"], changes))
            traps["sentences_with_several_diagnoses"] += sum(line["diagnosis_label"]) > 1
            traps["sentences_without_evidence"] += not any(line["evidence_label"])
    (root / FOLDER).mkdir()
    (root / QUERY).mkdir()
    for name, some in lines.items():
        _write_lines(root / FOLDER / f"mimic-nle-{name}.json", some)
        queries = [{key: line[key] for key in _QUERY_FIELDS} for line in some]
        _write_lines(root / QUERY / f"{name}-query.json", queries)
    traps["sentences_of_change"] = sum(changes for _, _, changes in told)
    traps["sentences_of_another_release_split"] = _moved(lines, chosen)
    rows = count(
        Example(SPLITS[study.split], study.study, tuple(picture.path for picture in study.images))
        for study, _, changes in told
        if not changes
    )
    texts = [(SPLITS[study.split], text) for study, text, _ in told]
    counts = {"[Natural Language Explanation] [MIMIC-NLE]": rows}
    return Planted("mimic_nle", counts, dict(sorted(traps.items())), facts(chosen, {"explanation": texts}))


def _write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))


def _chosen(draws: Draws, found: Sequence[Study]) -> dict[Study, int]:
    """Two thirds of the studies of each split, and their number in it, from 0."""
    chosen: dict[Study, int] = {}
    for split in SPLITS:
        every = [study for study in found if study.split == split]
        order = draws.permutation(split, len(every))[: 1 + 2 * len(every) // 3]
        chosen |= {every[int(place)]: rank for rank, place in enumerate(order)}
    return chosen


def _line(study: Study, number: int, stream: Stream, *, changes: bool) -> dict[str, Any]:
    wanted = [stream.below(len(_CLASSES)) for _ in range(1 + (stream.below(4) == 0))]
    diagnoses = sorted(set(wanted) - {5}) or [8]
    names = " or ".join(_CLASSES[k].lower() for k in diagnoses)
    bare = not changes and stream.chance(0.2)
    text = stream.pick(_CHANGE if changes else _WITHOUT_EVIDENCE if bare else _PLAIN)
    zone = ZONES[study.state.zone]
    text = text.replace("[zone]", zone).replace("[diagnosis]", names)
    certain = [[int(stream.below(3) == 0)] for _ in _CLASSES]
    return {
        "sentence_ID": f"{study.study}#{number}",
        "diagnosis_label": [int(k in diagnoses) for k in range(len(_CLASSES))],
        "evidence_label": [int(k == 5 and not bare) for k in range(len(_CLASSES))],
        "img_labels": [
            [0, 0, 1] if k == 5 and not bare else [0, 1, 0] if k in diagnoses else [1 - sure, sure, 0]
            for k, (sure,) in enumerate(certain)
        ],
        "nle": text[0].upper() + text[1:],
        "report_ID": study.study,
        "patient_ID": study.patient,
    }


def _moved(lines: dict[str, list[dict[str, Any]]], chosen: dict[Study, int]) -> int:
    """Sentences that the release files under another split than MIMIC-CXR."""
    split = {study.study: SPLITS[study.split] for study in chosen}
    release = {"train": "train", "dev": "val", "test": "test"}
    return sum(split[line["report_ID"]] != release[name] for name, some in lines.items() for line in some)
