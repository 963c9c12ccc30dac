from __future__ import annotations

import pytest

from instruct.prompts.filters import FILTERS, listing, sentence


@pytest.mark.parametrize(
    ("items", "phrase"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c"), (("a", "b"), "a and b")],
)
def test_a_list_reads_as_a_phrase(items, phrase):
    assert listing(items) == phrase
    assert listing(items, "or") == phrase.replace("and", "or")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("clear", "Clear."),
        (" is it? ", "Is it?"),
        ("PA view!", "PA view!"),
        ("", ""),
        ("  ", ""),
        ("5 cm", "5 cm."),
        ("é", "É."),
    ],
)
def test_a_text_reads_as_a_sentence(text, told):
    assert sentence(text) == told
    assert sentence(told) == told


def test_json_keeps_letters_as_they_are():
    assert FILTERS["json"]([["Größe", 1.5], None]) == '[["Größe", 1.5], null]'
