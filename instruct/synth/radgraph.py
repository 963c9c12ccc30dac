"""Synthetic RadGraph 1.0: ``{train,dev,test}.json`` about studies of the synthetic MIMIC-CXR, and CheXpert reports.

The release's own split has nothing to do with MIMIC-CXR's: its train file holds validation studies. Test reports have
two annotations, and so has one report of the dev file.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from instruct.synth import mimic_cxr
from instruct.synth.files import start
from instruct.synth.keyed import Draws
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import apportion, scatter
from instruct.synth.radgraph_text import Entities, annotated_text, bare_text
from instruct.synth.state import draw_states

FILES = ("train.json", "dev.json", "test.json")
MACHINE_MADE = "MIMIC-CXR_graphs.json"
ROW = "[Named Entity Recognition] [RadGraph]"

# Reports of MIMIC-CXR's train and validation splits, and of CheXpert.
_RELEASE = (541, 9, 50)
_FILE_SHARES = (425, 75, 50)


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic RadGraph corpus, and the MIMIC-CXR corpus beside it where there is none.

    Args:
        root: folder to write into.
        studies: number of MIMIC-CXR studies, 20 or more. As many reports are annotated, up to the release's 600, or
            fewer where MIMIC-CXR's train or validation split is smaller than their share; 1,500 give the published
            counts.
        seed: any integer.
        images: also write MIMIC-CXR's images, if its corpus is written.

    Returns:
        What was planted.

    Raises:
        UsageError: too few studies, or a RadGraph corpus is there already.
    """
    start(root, studies, (*FILES, MACHINE_MADE))
    mimic_cxr.beside(root, studies=studies, seed=seed, images=images)
    draws = Draws(seed, "radgraph")
    train, val, chexpert = apportion(min(studies, sum(_RELEASE)), _RELEASE, range(3))
    keys = [*_mimic_keys(draws, studies, seed, "train", train), *_mimic_keys(draws, studies, seed, "validate", val)]
    in_train = sum(split == "train" for _, split in keys)
    counts = {
        split: Counts(count, 0, count)
        for split, count in (("train", in_train), ("val", len(keys) - in_train), ("test", chexpert))
    }
    placed = scatter(draws, "files", apportion(len(keys), _FILE_SHARES, range(3))).tolist()
    keys += [(str(number), "test") for number in range(chexpert)]
    placed += [2] * chexpert
    contents: list[dict[str, Any]] = [{}, {}, {}]
    traps: Counter[str] = Counter()
    states = draw_states(draws, np.zeros(len(keys), np.int64))
    bare = placed.index(0)
    for k, ((key, split), file) in enumerate(zip(keys, placed, strict=True)):
        text, entities = annotated_text(states.at(k), draws.stream("text", k))
        if k == bare:
            text, entities = bare_text(draws.stream("text", k)), {}
        source = "MIMIC-CXR" if "/" in key else "CheXpert"
        twice = file == 2 or (file == 1 and not contents[1])
        contents[file][key] = _record(text, entities, FILES[file].removesuffix(".json"), source, twice)
        traps["validation_studies_in_the_train_file"] += split == "val" and file == 0
        traps["train_studies_in_the_test_file"] += split == "train" and file == 2
        traps["reports_without_entities"] += not entities
        traps["reports_with_two_annotations"] += twice
    for name, content in zip(FILES, contents, strict=True):
        (root / name).write_text(json.dumps(content), "utf-8")
    machine = _record("Machine made .", {}, "inference", "MIMIC-CXR", False)
    (root / MACHINE_MADE).write_text(json.dumps({"p19/p19999999/s59999999.txt": machine}), "utf-8")
    facts = {split: SplitFacts(count.studies, 0, None, {}, {}) for split, count in counts.items()}
    return Planted("radgraph", {ROW: counts}, dict(sorted(traps.items())), facts)


def _mimic_keys(draws: Draws, studies: int, seed: int, split: str, wanted: int) -> list[tuple[str, str]]:
    """Report keys of some studies of a split of MIMIC-CXR, each with the split's name in the count table."""
    found = [study for study in mimic_cxr.corpus(studies, seed) if study.split == split]
    chosen = draws.permutation(f"{split} studies", len(found))[:wanted]
    return [(f"{found[k].folder}/{found[k].study}.txt", mimic_cxr.SPLITS[split]) for k in chosen]


def _record(text: str, entities: Entities, split: str, source: str, twice: bool) -> dict[str, Any]:
    facts = {"data_source": source, "data_split": split}
    if not twice:
        return {"text": text, "entities": entities, **facts}
    # The second annotator leaves the last entity out, and with it what leads to it.
    kept = dict(list(entities.items())[:-1])
    second = {
        key: {**entity, "relations": [relation for relation in entity["relations"] if relation[1] in kept]}
        for key, entity in kept.items()
    }
    return {
        "text": text,
        "labeler_1": {"entities": entities, **facts},
        "labeler_2": {"entities": second, **facts},
        **facts,
    }
