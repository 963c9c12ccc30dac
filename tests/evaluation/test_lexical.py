import math

import nltk.translate.bleu_score as nltk_bleu
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from instruct.evaluation.bleu import bleu, bleu_batch, bleu_tokens
from instruct.evaluation.rouge import rouge_l, rouge_tokens

TOY = [
    ("No acute cardiopulmonary process.", "No acute findings.", 0.389400, 0.571429),
    (
        "Small bilateral pleural effusions with bibasilar atelectasis.",
        "Bilateral pleural effusions and basilar atelectasis.",
        0.518059,
        0.615385,
    ),
    ("Mild cardiomegaly. No pleural effusion.", "Mild cardiomegaly with clear lungs.", 0.267681, 0.4),
]
WORDS = st.lists(st.sampled_from(["a", "b", "c.", "d,", ".", "E", "\n", "é", " "]), max_size=14).map(" ".join)


@pytest.mark.parametrize(("reference", "prediction", "bleu2", "rouge"), TOY)
def test_toy_pairs_have_the_official_values(reference, prediction, bleu2, rouge):
    assert bleu_batch([prediction], [reference])[0] == pytest.approx(bleu2, abs=1e-6)
    assert rouge_l(rouge_tokens(prediction), rouge_tokens(reference)) == pytest.approx(rouge, abs=1e-6)


def test_several_references_as_in_the_example_of_fast_bleu():
    texts = (
        "It is a guide to action that ensures that the military will forever heed Party commands",
        "It is the guiding principle which guarantees the military forces always being under the command of the Party",
        "It is the practical guide for the army always to heed the directions of the party",
        "It is a guide to action which ensures that the military always obeys the commands of the party",
        "he read the book because he was interested in world history",
    )
    *references, first, second = (text.split() for text in texts)
    assert bleu(first, references) == pytest.approx(0.7453559925, abs=1e-9)
    assert bleu(second, references) == pytest.approx(0.0191380231, abs=1e-9)


def test_only_full_stops_are_set_apart():
    assert bleu_tokens("No  effusion, none.\nClear") == ["no", "effusion,", "none", ".\nclear"]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.integers(1, 4))
def test_batch_equals_plain_definition_and_nltk(pairs, order):
    values = bleu_batch([p for p, _ in pairs], [r for _, r in pairs], order)
    smoothing = nltk_bleu.SmoothingFunction().method1
    for value, (prediction, reference) in zip(values, pairs, strict=True):
        hypothesis, truth = bleu_tokens(prediction), bleu_tokens(reference)
        assert value == pytest.approx(bleu(hypothesis, [truth], order), abs=1e-14)
        expected = nltk_bleu.sentence_bleu(
            [truth], hypothesis, tuple(1 / order for _ in range(order)), smoothing_function=smoothing
        )
        assert value == pytest.approx(expected, abs=1e-14)


def test_batch_is_the_same_over_its_internal_boundary():
    pairs = [(f"word{i % 7} and {i % 3} more", f"word{i % 5} and {i % 2} more here") for i in range(530)]
    whole = bleu_batch([p for p, _ in pairs], [r for _, r in pairs], 4)
    tail = bleu_batch([p for p, _ in pairs[500:]], [r for _, r in pairs[500:]], 4)
    assert np.array_equal(whole[500:], tail)


@settings(max_examples=100, deadline=None)
@given(WORDS, WORDS)
def test_rouge_equals_the_package(prediction, reference):
    expected = RougeScorer(["rougeL"], use_stemmer=False).score(reference, prediction)["rougeL"].fmeasure
    assert rouge_l(rouge_tokens(prediction), rouge_tokens(reference)) == pytest.approx(expected, abs=1e-15)


@given(WORDS)
def test_a_text_scores_at_most_one_against_itself(text):
    value = bleu_batch([text], [text])[0]
    assert 0 <= value <= 1 + 1e-12
    if len(bleu_tokens(text)) > 1:
        assert value == pytest.approx(1)


def test_half_of_a_surrogate_pair_is_a_token_like_any_other():
    assert bleu_batch(["no \ud83d"], ["no \ud83d"])[0] == pytest.approx(1)


def test_text_in_another_script_has_bleu_but_no_rouge_tokens():
    text = "Легкие чистые. Выпота нет."
    assert bleu_batch([text], [text])[0] == pytest.approx(1)
    assert rouge_l(rouge_tokens(text), rouge_tokens(text)) == 0


def test_report_of_100000_words():
    text = " ".join(f"word{i}" for i in range(100_000))
    half = " ".join(f"word{i}" for i in range(50_000))
    assert bleu_batch([half], [text])[0] == pytest.approx(math.exp(-1))
    assert rouge_l(rouge_tokens(half), rouge_tokens(text)) == pytest.approx(2 / 3)
