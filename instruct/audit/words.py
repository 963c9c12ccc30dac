"""From the texts of a dataset folder to numbers: which report texts it holds, their words, and sequences of these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.audit.shards import Group, read

Hashes = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

# Shorter texts ("No acute disease.") are said of everybody; this many letters are fewer than twenty words.
_FEWEST_LETTERS = 60
# Before a record's id where it stands for a study: no key begins so, and no recipe can name it.
RECORD = "record "
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Texts:
    """Report texts of a shard: as long as each other.

    Attributes:
        texts: the texts.
        studies: study that each is about, or the record where an example has none.
        patients: its patient, or null.
        variants: names of the prompt a text was found in; null for an answer.
    """

    texts: pa.Array
    studies: pa.Array
    patients: pa.Array
    variants: pa.Array


def report_texts(group: Group) -> Iterator[Texts]:
    """The texts of a group that can be reports.

    These are long answers of examples without choices and regions, and long prompts of examples without images: what
    such a prompt asks about must be a text. Answers that are JSON are none.
    """
    columns = ["task", "images", "messages", "regions", "options", "keys", "provenance"]
    for file in group.files:
        for batch in read(file, columns):
            found = _of_batch(batch)
            if len(found.texts):
                yield found


def _of_batch(batch: pa.RecordBatch) -> Texts:
    lengths = {name: pc.list_value_length(batch.column(name)) for name in ("images", "regions", "options")}
    free = pc.and_(pc.equal(pc.fill_null(lengths["regions"], 0), 0), pc.equal(pc.fill_null(lengths["options"], 0), 0))
    bare = pc.equal(lengths["images"], 0)
    batch = batch.filter(free)
    bare = bare.filter(free)

    messages = batch.column("messages")
    turns = messages.flatten()
    turn_row = pc.list_parent_indices(messages)
    parts = turns.field("content")
    texts = parts.flatten().field("text")
    turn = pc.list_parent_indices(parts)
    row = turn_row.take(turn)
    role = turns.field("role").take(turn)
    answer = pc.equal(role, "assistant")
    prompt = pc.and_(pc.equal(role, "user"), bare.take(row))
    long = pc.greater_equal(pc.binary_length(texts), _FEWEST_LETTERS)
    data = pc.match_substring_regex(texts, r"^\s*[\[{]")
    wanted = pc.fill_null(pc.and_(pc.and_(long, pc.invert(data)), pc.or_(answer, prompt)), False)

    texts, row, answer = texts.filter(wanted), row.filter(wanted), answer.filter(wanted)
    keys, provenance = batch.column("keys"), batch.column("provenance")
    studies = pc.list_element(_or_record(keys), 0).take(row)
    name = pc.binary_join_element_wise(
        batch.column("task"), provenance.field("template_digest"), provenance.field("variant").cast(pa.string()), " "
    )
    variants = pc.if_else(answer, pa.scalar(None, pa.string()), name.take(row))
    return Texts(texts, studies, keys.field("patient").take(row), variants)


def _or_record(keys: pa.StructArray) -> pa.ListArray:
    """Studies of each example; its record where it has none."""
    record = pc.binary_replace_slice(keys.field("record"), 0, 0, RECORD)
    alone = pa.ListArray.from_arrays(pa.array(np.arange(len(keys) + 1, dtype=np.int32)), record)
    studies = keys.field("studies")
    return pc.if_else(pc.equal(pc.fill_null(pc.list_value_length(studies), 0), 0), alone, studies)


class Words:
    """Words as 64-bit numbers, the same on every machine."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, texts: pa.Array) -> tuple[Hashes, Indices]:
        """The words of each text.

        Args:
            texts: texts; case, digits and punctuation do not matter.

        Returns:
            The words of all texts, and how many each text has.
        """
        plain = pc.utf8_trim_whitespace(
            pc.replace_substring_regex(pc.utf8_lower(texts), pattern=r"[^\p{L}]+", replacement=" ")
        )
        split = pc.split_pattern(plain, " ")
        encoded = split.flatten().dictionary_encode()
        words = self._known(encoded.dictionary.to_pylist())[np.asarray(encoded.indices)]
        return words, np.asarray(pc.list_value_length(split), np.int64)

    def _known(self, words: Sequence[str]) -> Hashes:
        numbers = self._numbers
        for word in words:
            if word not in numbers:
                numbers[word] = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "little")
        return np.array([numbers[word] for word in words], np.uint64)


def whole(words: Hashes, counts: Indices) -> Hashes:
    """A hash of each text, equal for texts of the same words; texts without a word have 0."""
    places = np.arange(len(words)) - np.repeat(np.cumsum(counts) - counts, counts)
    powers = np.cumprod(np.full(int(counts.max(initial=0)) + 1, _MULTIPLIER, np.uint64))
    sums = np.append(np.uint64(0), np.cumsum(words * powers[places]))
    ends = np.cumsum(counts)
    hashes: Hashes = sums[ends] - sums[ends - counts]
    return hashes


def sequences(words: Hashes, counts: Indices, length: int) -> tuple[Hashes, Indices]:
    """Hashes of every ``length`` words that follow each other in a text.

    Args:
        words: the words of some texts.
        counts: how many each text has.
        length: words of a sequence.

    Returns:
        The hashes of all texts, and the place of each one's first word.
    """
    hashes = np.zeros(max(len(words) - length + 1, 0), np.uint64)
    for place in range(length):
        hashes = hashes * _MULTIPLIER + words[place : place + len(hashes)]
    hashes ^= hashes >> np.uint64(29)
    kept = np.maximum(counts - length + 1, 0)
    begins, offsets = np.cumsum(counts) - counts, np.cumsum(kept) - kept
    places = np.arange(kept.sum()) + np.repeat(begins - offsets, kept)
    return hashes[places], places
