"""Synthetic RadNLI: ``radnli_{dev,test}_v1.jsonl``. A corpus of 960 pairs has the release's 480 and 480."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from instruct.synth import phrases
from instruct.synth.files import start
from instruct.synth.keyed import Draws, Stream
from instruct.synth.planted import Counts, Planted, SplitFacts
from instruct.synth.quota import apportion, scatter

FILES = {"val": "radnli_dev_v1.jsonl", "test": "radnli_test_v1.jsonl"}
LABELS = ("neutral", "entailment", "contradiction")
ROW = "[Natural Language Inference] [RadNLI]"

# Shares of the labels: the two files differ in balance.
_SHARES = {"val": (45, 25, 30), "test": (52, 22, 26)}

# What is there, what follows from it, and what denies it; "[side]" and "[zone]" are the same in both sentences.
_TOPICS = (
    (phrases.EFFUSION[1], "Pleural fluid is present on the [side].", phrases.EFFUSION[0]),
    (phrases.EFFUSION[3], "There is pleural fluid on the [side].", phrases.EFFUSION[0]),
    (phrases.OPACITY[2], "There is an opacity in the [zone] zone.", phrases.OPACITY[0]),
    (phrases.OPACITY[3], "The [zone] zone is not clear.", phrases.OPACITY[0]),
    (phrases.HEART[2], "The heart is enlarged.", phrases.HEART[0]),
    (phrases.HEART[3], "The heart size is abnormal.", phrases.HEART[0]),
    (phrases.PNEUMOTHORAX, "There is air in the [side] pleural space.", phrases.NO_PNEUMOTHORAX),
)
_SIDES = ("right", "left")
_ZONES = ("right upper", "right lower", "left upper", "left lower")


def write(root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic RadNLI corpus.

    Args:
        root: folder to write into.
        studies: number of sentence pairs, 20 or more.
        seed: any integer.
        images: ignored: RadNLI has none.

    Returns:
        What was planted.

    Raises:
        UsageError: too few pairs, or a RadNLI corpus is there already.
    """
    start(root, studies, tuple(FILES.values()))
    draws = Draws(seed, "radnli")
    counts = {"train": Counts(0, 0, 0)}
    facts = {}
    traps: Counter[str] = Counter()
    for (split, name), pairs in zip(FILES.items(), apportion(studies, (1, 1)), strict=True):
        kinds = scatter(draws, f"{split} labels", apportion(pairs, _SHARES[split], range(3)))
        lines = []
        for k, kind in enumerate(kinds):
            label = LABELS[kind]
            premise, hypothesis = _pair(label, draws.stream(split, k))
            # Ids tell neither the order nor the label.
            number = 10_000 + (draws.number(split, 0) + 7919 * k) % 90_000
            record = {
                "pair_id": f"{split}-{number}",
                "gold_label": label,
                "sentence1": premise,
                "sentence2": hypothesis,
            }
            lines.append(json.dumps(record))
            traps[f"{split}_{label}"] += 1
        (root / name).write_text("\n".join(lines) + "\n", "utf-8")
        counts[split] = Counts(pairs, 0, pairs)
        facts[split] = SplitFacts(pairs, 0, None, {}, {})
    return Planted("radnli", {ROW: counts}, dict(sorted(traps.items())), facts)


def _pair(label: str, stream: Stream) -> tuple[str, str]:
    """Premise and hypothesis of a label."""
    first = stream.below(len(_TOPICS))
    there, follows, denied = _TOPICS[first]
    side, zone = stream.pick(_SIDES), stream.pick(_ZONES)

    def said(sentence: str) -> str:
        return sentence.replace("[side]", side).replace("[zone]", zone)

    if label == "entailment":
        return said(stream.pick(there)), said(follows)
    if label == "contradiction":
        sentences = said(stream.pick(there)), stream.pick(denied)
        return sentences if stream.chance(0.5) else sentences[::-1]
    # Two topics of different organs: neither sentence says anything about the other.
    other = _TOPICS[(first + 2 + stream.below(3)) % len(_TOPICS)]
    while other[2] is denied:
        other = stream.pick(_TOPICS)
    return said(stream.pick(there)), said(stream.pick(other[0]))
