"""Report texts: what is compared, what counts as alike, and that the fast way gives what the definition says."""

from __future__ import annotations

import itertools
import random
import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instruct.audit.shards import Group
from instruct.audit.texts import Corpus
from instruct.audit.words import Texts

TRAIN, TEST = Group("A", "a", "train", {}), Group("B", "b", "test", {})


def alike(train: dict[str, str], test: dict[str, str], patients: dict[str, str] | None = None, prompts: bool = False):
    """Pairs of studies alike, and their Jaccard index."""
    corpus = Corpus([TRAIN, TEST])
    for place, texts in enumerate((train, test)):
        names = list(texts)
        variant = pa.array(["prompt"] * len(names) if prompts else [None] * len(names), pa.string())
        owners = pa.array([(patients or {}).get(name) for name in names], pa.string())
        corpus.add(place, Texts(pa.array(texts.values(), pa.string()), pa.array(names, pa.string()), owners, variant))
    return {pair.keys: pair.jaccard for pair in corpus.alike()}


def text(seed: int, words: int = 40) -> str:
    return " ".join("".join(random.Random(f"{seed} {n}").choices("abcdefgh", k=4)) for n in range(words))


def test_copies_are_found_and_others_are_not() -> None:
    train = {f"a/{number}": text(number) for number in range(20)}
    test = {f"b/{number}": text(100 + number) for number in range(20)} | {"b/x": text(7).upper() + ".  12\n"}
    assert alike(train, test) == {("a/7", "b/x"): 1.0}


def test_reworded_copies_down_to_half_of_the_sequences() -> None:
    words = text(1).split()
    reworded = [*words[:10], "else", *words[10:28], "other", *words[29:]]
    ((keys, jaccard),) = alike({"a/1": text(1), "a/2": text(2)}, {"b/1": " ".join(reworded)}).items()
    assert keys == ("a/1", "b/1") and 0.5 <= jaccard < 1
    torn = [word if place % 5 else "torn" for place, word in enumerate(words)]
    assert alike({"a/1": text(1)}, {"b/1": " ".join(torn)}) == {}


def test_sentences_in_another_order_are_the_same_report() -> None:
    sentences = [text(number, 7) for number in range(6)]
    ((keys, jaccard),) = alike({"a/1": " ".join(sentences)}, {"b/1": " ".join(reversed(sentences))}).items()
    assert keys == ("a/1", "b/1") and 0.5 <= jaccard < 1


def test_repeated_texts_are_counted_whoever_says_them() -> None:
    """Stock phrases are no copies, but two splits that share them are told of it; of prompts nothing is told."""
    corpus = Corpus([TRAIN, TEST, Group("C", "c", "val", {})])
    for place, said in enumerate([[1, 1, 2, 3], [1, 2, 4], [3, 5]]):
        texts = [*(text(number) for number in said), text(9, 23)]  # and a short one, which is said of everybody
        names = pa.array([f"{place}/{number}" for number in range(len(texts))])
        nobody = pa.nulls(len(texts), pa.string())
        corpus.add(place, Texts(pa.array(texts), names, nobody, nobody))
        corpus.add(place, Texts(pa.array([text(8)]), names[:1], nobody[:1], pa.array(["prompt"])))
    assert [(one.kind, one.first, one.second, one.count) for one in corpus.repeated()] == [
        ("text", 0, 1, 2),
        ("text", 0, 2, 1),
    ]
    assert Corpus([TRAIN]).repeated() == []


def test_phrases_of_the_trade_are_no_copies() -> None:
    """Five studies have the text: nothing tells which of them would be copied."""
    common = text(1)
    assert alike({f"a/{n}": common for n in range(2)}, {f"b/{n}": common for n in range(2)}).keys() == {
        (f"a/{a}", f"b/{b}") for a in range(2) for b in range(2)
    }
    assert alike({f"a/{n}": common for n in range(3)}, {f"b/{n}": common for n in range(2)}) == {}


def test_short_texts_are_not_compared() -> None:
    assert alike({"a/1": text(1, 23)}, {"b/1": text(1, 23)}) == {}
    assert alike({"a/1": text(1, 24)}, {"b/1": text(1, 24)}) == {("a/1", "b/1"): 1.0}


def test_a_patient_s_reports_are_a_matter_of_keys() -> None:
    assert alike({"a/1": text(1)}, {"b/1": text(1)}, {"a/1": "p", "b/1": "p"}) == {}
    assert alike({"a/1": text(1)}, {"b/1": text(1)}, {"a/1": "p", "b/1": "q"}) == {("a/1", "b/1"): 1.0}
    assert alike({"a/1": text(1)}, {"a/1": text(1)}) == {}


def test_the_wording_of_prompts_is_no_report() -> None:
    wording = text(0, 30)
    train = {f"a/{number}": f"{wording} {text(number)}" for number in range(1, 5)}
    test = {f"b/{number}": f"{wording} {text(100 + number)}" for number in range(1, 4)}
    assert alike(train, test, prompts=True) == {}
    found = alike(train, test | {"b/9": f"{wording} {text(3)}"}, prompts=True)
    assert found == {("a/3", "b/9"): 1.0}
    # Of three prompts, nothing tells what their wording is.
    assert alike({"a/1": text(1), "a/2": text(2)}, {"b/1": text(1)}, prompts=True) == {}


@pytest.mark.parametrize("empty", [{}, {"a/1": ""}])
def test_nothing_to_compare(empty: dict[str, str]) -> None:
    assert alike(empty, {}) == {} and alike(empty, {"b/1": text(1)}) == {}


SENTENCES = [text(n, 6) for n in range(14)]
REPORTS = st.lists(st.lists(st.sampled_from(SENTENCES), min_size=3, max_size=9).map(" ".join), max_size=8)


@settings(max_examples=40)
@given(REPORTS, REPORTS)
def test_the_definition(train: list[str], test: list[str]) -> None:
    """Against a plain count over all pairs."""
    reports = {f"a/{n}": report for n, report in enumerate(train)} | {f"b/{n}": r for n, r in enumerate(test)}
    held = {}
    for name, report in reports.items():
        words = re.findall("[a-z]+", report)
        held[name] = {k: {tuple(words[i : i + k]) for i in range(len(words) - k + 1)} for k in (2, 5, 8)}
        held[name]["long"] = len(words) >= 24
    wanted = {}
    for a, b in itertools.product(reports, reports):
        if a[0] == "a" and b[0] == "b" and held[a]["long"] and held[b]["long"]:
            shared = {
                k: sum(sum(s in other[k] for other in held.values()) <= 4 for s in held[a][k] & held[b][k])
                for k in (5, 8)
            }
            jaccard = len(held[a][2] & held[b][2]) / len(held[a][2] | held[b][2])
            if max(shared.values()) >= 10 and jaccard >= 0.5:
                wanted[a, b] = pytest.approx(jaccard)
    assert (
        alike({n: r for n, r in reports.items() if n[0] == "a"}, {n: r for n, r in reports.items() if n[0] == "b"})
        == wanted
    )
