"""What the shards of a build hold: answers, prompts, variants and labels of each row; studies, patients and images."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.reports.statistics.texts import Lengths, Tokenizer, summarize, token_counts, word_counts
from instruct.shard import open_shard

_COLUMNS = ("conversations", "options", "answers", "regions", "keys", "provenance")
# Parts the turns of a prompt, which are hashed together.
_TURN = "\x1e"
# What stands for each image of a turn; how many a study has makes no other prompt.
_IMAGE = "<image>"
# Labels of a row that are listed; the others are summed up.
LISTED_LABELS = 60


@dataclass
class Keys:
    """Distinct keys that a split holds, each of the form ``source/key``."""

    studies: list[pa.Array] = field(default_factory=list)
    patients: list[pa.Array] = field(default_factory=list)
    images: list[pa.Array] = field(default_factory=list)

    def add(self, keys: pa.StructArray) -> None:
        """Take the keys of a shard."""
        self.studies.append(pc.unique(pc.struct_field(keys, "studies").flatten()))
        self.patients.append(pc.unique(pc.struct_field(keys, "patient").drop_null()))
        self.images.append(pc.unique(pc.struct_field(keys, "images").flatten()))

    def by_source(self) -> dict[str, dict[str, pa.Array]]:
        """Source to its studies, patients and images, without the source's name before them."""
        found: dict[str, dict[str, pa.Array]] = {}
        for kind, parts in (("studies", self.studies), ("patients", self.patients), ("images", self.images)):
            keys = pc.unique(pa.chunked_array(parts, pa.string()))
            split = pc.split_pattern(keys, "/", max_splits=1)
            names = pc.list_element(split, 0) if len(split) else pa.array([], pa.string())
            for name in pc.unique(names).to_pylist():
                own = split.filter(pc.equal(names, name))
                found.setdefault(name, {})[kind] = pc.list_element(own, 1)
        return found


def row_statistics(
    folder: Path, task: Mapping[str, Any], split: str, tokenizer: Tokenizer | None, keys: Keys
) -> dict[str, Any]:
    """Statistics of one split of a row.

    Args:
        folder: the dataset folder.
        task: the manifest's task.
        split: train, val or test.
        tokenizer: counts tokens, where wanted.
        keys: takes what the split's examples are about.
    """
    words: list[Lengths] = []
    tokens: list[Lengths] = []
    prompts: list[npt.NDArray[np.uint64]] = []
    variants: Counter[int] = Counter()
    labels: Counter[str] = Counter()
    examples = records = 0
    for table in _tables(folder, task["splits"][split]["shards"]):
        turns = table["conversations"]
        said = pc.struct_field(turns.flatten(), "value")
        rows = np.asarray(pc.list_parent_indices(turns))
        answers = np.asarray(pc.equal(pc.struct_field(turns.flatten(), "from"), "gpt"))
        words.append(_per_row(rows[answers], word_counts(said.filter(pa.array(answers))), len(table)))
        if tokenizer is not None:
            counted = token_counts(said.filter(pa.array(answers)), tokenizer)
            tokens.append(_per_row(rows[answers], counted, len(table)))
        asked = pc.replace_substring(said.filter(pa.array(~answers)), _IMAGE, "")
        prompts.append(_hashes(rows[~answers], asked, len(table)))
        first = _first_of_record(pc.struct_field(table["keys"], "record"))
        examples, records = examples + len(table), records + int(first.sum())
        numbers = np.asarray(pc.struct_field(table["provenance"], "variant"))
        variants.update(dict(enumerate(np.bincount(numbers).tolist())))
        labels.update(_labels(table.filter(pa.array(first))))
        keys.add(table["keys"])
    statistics: dict[str, Any] = {
        "examples": examples,
        "records": records,
        "target_words": summarize(_joined(words)),
        "distinct_prompts": len(np.unique(np.concatenate(prompts))) if prompts else 0,
        "variants": {str(number): variants[number] for number in sorted(variants) if variants[number]},
    }
    if tokenizer is not None:
        statistics["target_tokens"] = summarize(_joined(tokens))
    if labels:
        ranked = sorted(labels.items(), key=lambda item: (-item[1], item[0]))
        statistics["labels"] = dict(ranked[:LISTED_LABELS])
        statistics["labels_not_listed"] = len(ranked[LISTED_LABELS:])
    return statistics


def _tables(folder: Path, shards: list[Mapping[str, Any]]) -> Iterator[pa.RecordBatch]:
    """The columns that are counted, batch by batch."""
    for shard in shards:
        with open_shard(folder / shard["file"]) as batches:
            yield from batches.read_all().select(_COLUMNS).combine_chunks().to_batches()


def _joined(parts: list[Lengths]) -> Lengths:
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def _per_row(rows: npt.NDArray[np.int64], lengths: Lengths, count: int) -> Lengths:
    """Lengths of an example's answers, together."""
    return np.bincount(rows, weights=lengths, minlength=count).astype(np.int64)


def _hashes(rows: npt.NDArray[np.int64], texts: pa.Array, count: int) -> npt.NDArray[np.uint64]:
    """Hashes of the distinct prompts: what stands before and between the answers."""
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int32)
    joined = pc.unique(pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets), texts), _TURN))
    return np.array(
        [
            int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
            for text in joined.to_pylist()
        ],
        np.uint64,
    )


def _first_of_record(records: pa.Array) -> npt.NDArray[np.bool_]:
    """The first variant of each record; variants of one record stand next to each other."""
    first = np.ones(len(records), bool)
    if len(records) > 1:
        first[1:] = np.asarray(pc.not_equal(records[1:], records[:-1]))
    return first


def _labels(table: pa.RecordBatch) -> Counter[str]:
    """Records with each label: right choices of menus, or labels of regions."""
    chosen = table["answers"]
    menus = pc.greater(pc.list_value_length(table["options"]), 0)
    if pc.any(menus).as_py():
        lists, texts = chosen.filter(menus), chosen.filter(menus).flatten()
    else:
        lists, texts = table["regions"], pc.struct_field(table["regions"].flatten(), "label")
    known = texts.drop_null().dictionary_encode()
    rows = np.asarray(pc.list_parent_indices(lists))[np.asarray(texts.is_valid())]
    if not len(known):
        return Counter()
    names = known.dictionary.to_pylist()
    pairs = np.unique(rows * len(names) + np.asarray(known.indices))  # a label counts once in a record
    return Counter(dict(zip(names, np.bincount(pairs % len(names), minlength=len(names)).tolist(), strict=True)))
