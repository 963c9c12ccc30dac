"""Reports that stand in two splits under different keys, word for word or reworded.

Radiology reports repeat themselves: many studies of different patients have the same normal findings. What tells a
copy is not how many word sequences two reports share but how many that hardly any other report has. So sequences of
five and of eight words are indexed, those of more than :data:`_MOST_STUDIES` studies are dropped as phrases of the
trade, and two studies that still share :data:`_FEWEST_SHARED` of one length are compared exactly, by the Jaccard index
of all their pairs of words (Broder, "On the resemblance and containment of documents", 1997). Short sequences outlive
rewording and sentences in another order, long ones are still rare among very many reports. Nothing is drawn at random,
and no pair above the thresholds is missed. A copy of a report that consists of common phrases alone cannot be told from
chance and is not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from instruct.audit.overlaps import Overlap
from instruct.audit.shards import Group
from instruct.audit.words import Hashes, Indices, Texts, Words, report_texts, sequences, whole

Flags = npt.NDArray[np.bool_]

_MOST_STUDIES = 4
_INDEXED_WORDS = (5, 8)
_FEWEST_SHARED = 10
# Of this length are the sequences by which a prompt's wording is known.
_WORDING_WORDS = 8
_COMPARED_WORDS = 2
_FEWEST_JACCARD = 0.5
_FEWEST_WORDS = 24
# A sequence in half the prompts of one variant belongs to the prompt. Of fewer prompts than these that cannot be told.
_FEWEST_PROMPTS = 4
# A study's report stands in a few texts: findings, impression, both in prompts, questions about it.
_TEXTS_PER_STUDY = 40


@dataclass(frozen=True)
class AlikeReports:
    """Two studies with a report text in common.

    Attributes:
        first: group (by place) of one of the texts, in the less protected split.
        second: group of the other.
        keys: the two studies.
        jaccard: share of common sequences among all of both, 0-1; 1 is word for word.
    """

    first: int
    second: int
    keys: tuple[str, str]
    jaccard: float


def read_corpus(groups: Sequence[Group]) -> Corpus:
    """The report texts of a build.

    Args:
        groups: its groups.
    """
    corpus = Corpus(groups)
    for place, group in enumerate(groups):
        for texts in report_texts(group):
            corpus.add(place, texts)
    return corpus


class Corpus:
    """The report texts of some groups.

    Args:
        groups: the groups; they are known by their place in this list.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        self._groups = groups
        self._vocabulary = Words()
        self._words: list[Hashes] = []
        self._counts: list[Indices] = []
        self._group: list[Indices] = []
        self._found: list[Texts] = []

    def add(self, place: int, texts: Texts) -> None:
        """Add texts of a group."""
        words, counts = self._vocabulary.of(texts.texts)
        self._words.append(words)
        self._counts.append(counts)
        self._group.append(np.full(len(counts), place))
        self._found.append(Texts(pa.nulls(len(counts)), texts.studies, texts.patients, texts.variants))

    def alike(self) -> list[AlikeReports]:
        """Pairs of studies of different patients, with texts alike, in two splits; ordered by groups and keys."""
        if not self._found:
            return []
        studies, patients, variants = (self._column(name) for name in ("studies", "patients", "variants"))
        names, study = studies.dictionary, np.asarray(studies.indices, np.int64)
        patient = np.asarray(pc.fill_null(patients.indices, -1), np.int64)
        variant = np.asarray(pc.fill_null(variants.indices, -1), np.int64)
        group = np.concatenate(self._group)
        words, counts = np.concatenate(self._words), np.concatenate(self._counts)
        material = _material(words, counts, variant)
        rank = np.array([item.rank for item in self._groups], np.int64)[group]
        codes = [_candidates(words, counts, material, study, rank, length) for length in _INDEXED_WORDS]
        one, two = np.divmod(np.unique(np.concatenate(codes)), max(len(study), 1))
        owner = np.full(len(names), -1, np.int64)
        owner[study] = patient
        strangers = (owner[one] != owner[two]) | (owner[one] < 0)
        compare = _Compare(words[material], _sums(material, counts), study)
        found: dict[tuple[int, int, tuple[str, str]], float] = {}
        for first, second in zip(one[strangers].tolist(), two[strangers].tolist(), strict=True):
            keys = (names[first].as_py(), names[second].as_py())
            for a, b, jaccard in compare(first, second):
                if jaccard >= _FEWEST_JACCARD and rank[a] != rank[b]:
                    left, right = int(group[a]), int(group[b])
                    place = (left, right, keys) if rank[a] < rank[b] else (right, left, (keys[1], keys[0]))
                    found[place] = max(jaccard, found.get(place, 0))
        return sorted(
            (AlikeReports(*place, jaccard) for place, jaccard in found.items()),
            key=lambda pair: (pair.first, pair.second, pair.keys),
        )

    def repeated(self) -> list[Overlap]:
        """How many long texts two groups have in common word for word, also those of phrases that many studies share.

        Prompts, which have other words around a report, are not counted.
        """
        overlaps = []
        with duckdb.connect(":memory:") as db:
            db.execute("CREATE TABLE held (text UBIGINT, g USMALLINT)")
            for words, counts, group, found in zip(self._words, self._counts, self._group, self._found, strict=True):
                wanted = (counts >= _FEWEST_WORDS) & np.asarray(found.variants.is_null())
                db.register("given", pa.table([whole(words, counts)[wanted], group[wanted]], ["text", "g"]))
                db.execute("INSERT INTO held SELECT DISTINCT text, g FROM given")
            for first, second, count in db.execute(
                "WITH one AS (SELECT DISTINCT * FROM held) SELECT one.g, two.g, count(*) FROM one JOIN one AS two"
                " ON one.text = two.text AND one.g < two.g GROUP BY ALL ORDER BY ALL"
            ).fetchall():
                overlaps.append(Overlap("text", first, second, count))
        return overlaps

    def _column(self, name: str) -> pa.DictionaryArray:
        parts = [getattr(texts, name) for texts in self._found]
        return pa.chunked_array(parts, pa.string()).combine_chunks().dictionary_encode()


class _Compare:
    """The Jaccard index of every text of one study with every text of another."""

    def __init__(self, words: Hashes, counts: Indices, study: Indices) -> None:
        self._words = words
        self._counts = counts
        self._begins = np.cumsum(counts) - counts
        self._order = np.argsort(study, kind="stable")
        self._ordered = study[self._order]

    def __call__(self, first: int, second: int) -> list[tuple[int, int, float]]:
        one, two = self._texts(first), self._texts(second)
        return [(a, b, len(x & y) / len(x | y)) for a, x in one for b, y in two]

    def _texts(self, study: int) -> list[tuple[int, set[int]]]:
        low, high = np.searchsorted(self._ordered, [study, study + 1])
        found = []
        for text in self._order[low:high].tolist():
            count = self._counts[text]
            if count:
                words = self._words[self._begins[text] : self._begins[text] + count]
                found.append((text, set(sequences(words, np.array([count]), _COMPARED_WORDS)[0].tolist())))
        return found


def _candidates(words: Hashes, counts: Indices, material: Flags, study: Indices, rank: Indices, length: int) -> Indices:
    """Pairs of studies, not all in one split, that share enough sequences that few others have.

    Returns:
        A number for each pair: the first study times the number of texts, plus the second.
    """
    hashes, places = sequences(words, counts, length)
    own = np.append(0, np.cumsum(material))
    own = own[places + length] - own[places] == length
    text = np.repeat(np.arange(len(counts)), counts)[places]
    order = np.argsort(hashes, kind="stable")
    hashes, text, own = hashes[order], text[order], own[order]
    starts = _starts(hashes)
    sizes = np.diff(np.append(starts, len(hashes)))
    ranks = rank[text]
    mixed = np.minimum.reduceat(ranks, starts) != np.maximum.reduceat(ranks, starts) if len(starts) else sizes > 0
    # Sequences of very many texts go before studies are told apart: it spares most of the work.
    few = mixed & (sizes <= _MOST_STUDIES * _TEXTS_PER_STUDY)
    run = np.repeat(np.arange(len(starts)), sizes)
    kept = few[run]
    holders, which = np.unique(run[kept] * len(study) + study[text[kept]], return_inverse=True)
    owned = np.bincount(which, own[kept], minlength=len(holders)) > 0
    run = holders // len(study)
    # A phrase is one of the trade wherever it stands, in a prompt's wording too; a copy must have it in its report.
    few = np.bincount(run, minlength=len(starts) + 1) <= _MOST_STUDIES
    holders = holders[owned & few[run]]
    run, holder = np.divmod(holders, max(len(study), 1))
    starts = _starts(run)
    sizes = np.diff(np.append(starts, len(run)))
    codes = [np.zeros(0, np.int64)]
    for size in range(2, _MOST_STUDIES + 1):
        block = holder[starts[sizes == size][:, None] + np.arange(size)]
        codes += [block[:, a] * len(study) + block[:, b] for a in range(size) for b in range(a + 1, size)]
    code, shared = np.unique(np.concatenate(codes), return_counts=True)
    return code[shared >= _FEWEST_SHARED]


def _material(words: Hashes, counts: Indices, variant: Indices) -> Flags:
    """Which words are a report's, and not those of the prompt around it: sequences of half the texts of its variant.

    Prompts of a variant with too few texts have no words of a report, nor have texts with too few words left.

    Args:
        words: the words of all texts.
        counts: how many each text has.
        variant: variant of the prompt that each text is, -1 for an answer.
    """
    number = np.bincount(variant[variant >= 0], minlength=1)
    known = np.where(variant >= 0, number[variant] >= _FEWEST_PROMPTS, True)
    hashes, places = sequences(words, counts, _WORDING_WORDS)
    text = np.repeat(np.arange(len(counts)), counts)
    prompts = np.flatnonzero((variant >= 0)[text[places]])
    hashes, places = hashes[prompts], places[prompts]
    kind, holder = variant[text[places]], text[places]
    order = np.lexsort((holder, hashes, kind))
    hashes, places, kind, holder = hashes[order], places[order], kind[order], holder[order]
    differs = np.ones(len(order), bool)
    differs[1:] = (kind[1:] != kind[:-1]) | (hashes[1:] != hashes[:-1])
    first = np.ones(len(order), np.int64)
    first[1:] = differs[1:] | (holder[1:] != holder[:-1])
    starts = np.flatnonzero(differs)
    texts = np.repeat(np.add.reduceat(first, starts) if len(starts) else first, np.diff(np.append(starts, len(order))))
    wording = np.zeros(len(words) + 1, np.int64)  # +1 where some begins, -1 after it ends
    common = places[texts * 2 >= number[kind]]
    np.add.at(wording, common, 1)
    np.add.at(wording, common + _WORDING_WORDS, -1)
    material = (np.cumsum(wording[:-1]) == 0) & known[text]
    long = (_sums(material, counts) >= _FEWEST_WORDS)[text]
    return np.asarray(material & long, np.bool_)


def _sums(flags: Flags, counts: Indices) -> Indices:
    """How many of each text's flags are set."""
    return np.bincount(np.repeat(np.arange(len(counts)), counts)[flags], minlength=len(counts))


def _starts(values: npt.NDArray[np.generic]) -> Indices:
    """Places where a run of equal values begins."""
    return np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(values) else np.zeros(0, np.int64)
