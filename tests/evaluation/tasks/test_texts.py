"""VQA, named entities and report evaluation."""

import json
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from instruct.errors import DataError
from instruct.evaluation import evaluate, make_pairs
from instruct.evaluation.tasks.answers import numbers_of
from instruct.evaluation.tasks.entities import annotation_of
from instruct.evaluation.tasks.judging import kendall_tau_b
from instruct.evaluation.tasks.vqa import answer_tokens, exact_match, token_overlap


def test_vqa_normalisation_and_overlap():
    assert answer_tokens("The left-sided, effusion!") == ["leftsided", "effusion"]
    assert exact_match("An effusion.", "effusion") == 1
    assert token_overlap("left left lung", "left lung base") == (pytest.approx(2 * 2 / 6), pytest.approx(2 / 3))
    assert token_overlap("heart", "lung") == (0, 0)
    assert token_overlap("", "the") == (1, 1)


def test_vqa_open_and_closed_questions():
    extras = [{}, {}, {"options": ["left", "right"]}, {"options": ["left", "right"]}, {}]
    pairs = make_pairs(
        list("abcde"),
        ["Yes, there is.", "pleural effusion", "(A)", "up", ""],
        ["yes", "left pleural effusion", "left", "left", "no"],
        extras,
    )
    report = evaluate(pairs, metrics="vqa")
    assert report.result("vqa_closed").value == pytest.approx(2 / 4)
    assert report.result("vqa_closed").n_scored == 4
    assert report.result("vqa_exact").value == pytest.approx(1 / 5)
    assert report.result("vqa_recall").value == pytest.approx((1 + 2 / 3 + 1 + 0 + 0) / 5)
    assert report.result("vqa_f1").n_scored == 5
    assert report.parts[0].counts == {"unparsed_answers": 2}


def test_vqa_with_several_right_options_or_several_accepted_answers():
    extras = [
        {"options": ["left", "right", "no, none"], "target": ["left", "no, none"]},
        {"options": ["left", "right", "no, none"], "target": ["left", "no, none"]},
        {"target": ["the left base", "base"]},
        {"target": ["yes", "not seen"]},
    ]
    pairs = make_pairs(list("abcd"), ["(A) left\n(C) no, none", "left", "Base.", "no"], [None] * 4, extras)
    part = evaluate(pairs, metrics="vqa").parts[0]
    assert part.columns["vqa_exact"].tolist() == [1, 0, 1, 0]
    assert part.columns["vqa_f1"].tolist() == [1, pytest.approx(0.5), 1, 0]
    assert part.columns["vqa_closed"][:2].tolist() == [1, 0]
    assert np.isnan(part.columns["vqa_closed"][2:]).all()  # not all that is accepted is yes or no


@pytest.mark.parametrize("target", ["up", ["left", "up"], 3])
def test_a_true_option_that_cannot_be_read_is_an_error_of_the_file(target):
    pairs = make_pairs(["a"], ["left"], [None], [{"options": ["left", "right"], "target": target}])
    with pytest.raises(DataError, match=r"example 'a': the true answer .* cannot be read"):
        evaluate(pairs, metrics="vqa")
    pairs = make_pairs(["a"], ["left"], ["left"], [{"options": "left, right"}])
    with pytest.raises(DataError, match="example 'a': options is 'left, right'; expected a list"):
        evaluate(pairs, metrics="vqa")


def test_a_yes_no_question_without_options_is_read_for_yes_or_no():
    said = ["Yes, small.", "It is large", "No.", "", "heart"]
    pairs = make_pairs(list("abcde"), said, ["yes", "no", "No.", "yes", "lung"])
    part = evaluate(pairs, metrics="vqa").parts[0]
    assert part.columns["vqa_closed"][:4].tolist() == [1, 0, 1, 0]
    assert part.results["vqa_closed"].n_scored == 4
    assert part.counts["unparsed_answers"] == 2  # the second and the blank; any words answer the last


def test_entities_by_hand_and_by_text():
    truth = {
        "entities": [["effusion", "OBS"], ["lung", "ANAT"]],
        "relations": [[["effusion", "OBS"], ["lung", "ANAT"], "at"]],
    }
    said = {"entities": [["effusion", "OBS"], ["lung", "OBS"], ["heart", "ANAT"]], "relations": truth["relations"]}
    pairs = make_pairs(
        ["a", "b", "c"],
        [json.dumps(said), "I see none", "[]"],
        [json.dumps(truth), '[["clear", "OBS"]]', "[]"],
    )
    report = evaluate(pairs, metrics="ner")
    assert report.result("entity_precision").value == pytest.approx(1 / 3)
    assert report.result("entity_recall").value == pytest.approx(1 / 3)
    assert report.result("entity_f1").value == pytest.approx(1 / 3)
    assert report.result("relation_f1").value == 1
    assert report.result("entity_example_f1").value == pytest.approx((2 / 5 + 0 + 1) / 3)
    assert report.parts[0].counts["unparsed_answers"] == 1
    assert annotation_of('{"entities": ["effusion"]}', {}) is None


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=25))
def test_tau_b_agrees_with_scipy(rows):
    answers = np.array([answer for answer, _ in rows], dtype=float)
    targets = np.array([target for _, target in rows], dtype=float)
    expected = scipy.stats.kendalltau(answers, targets).statistic
    value = kendall_tau_b(answers, targets)
    assert (math.isnan(value) and math.isnan(expected)) or value == pytest.approx(expected)


def tau_of_all_pairs(answers, targets):
    """The definition, pair by pair: a pair of which one answer is unread is ordered wrongly."""
    score = said_apart = true_apart = 0
    for one in range(len(targets)):
        for other in range(one):
            true = np.sign(targets[one] - targets[other])
            said = np.sign(answers[one] - answers[other])
            said = -true if np.isnan(said) else said
            score, said_apart, true_apart = score + said * true, said_apart + abs(said), true_apart + abs(true)
    return score / math.sqrt(said_apart * true_apart) if said_apart and true_apart else math.nan


@given(st.lists(st.tuples(st.one_of(st.just(math.nan), st.integers(0, 4)), st.integers(0, 4)), min_size=1, max_size=25))
def test_tau_b_with_unread_answers_is_its_definition(rows):
    answers, targets = np.array(rows, dtype=float).T
    assert kendall_tau_b(answers, targets) == pytest.approx(tau_of_all_pairs(answers, targets), nan_ok=True)


def test_tau_b_of_many_examples_takes_no_square_of_them():
    random = np.random.default_rng(0)
    targets = random.integers(0, 12, 300_000).astype(float)
    answers = targets + random.integers(-3, 4, 300_000)
    assert kendall_tau_b(answers, targets) == pytest.approx(scipy.stats.kendalltau(answers, targets).statistic)


def test_an_unread_count_is_ordered_wrongly():
    targets = np.array([1.0, 2, 3, 4])
    assert kendall_tau_b(targets, targets) == 1
    assert kendall_tau_b(np.array([1, 2, 3, math.nan]), targets) == pytest.approx((3 - 3) / 6)
    assert kendall_tau_b(np.full(4, math.nan), targets) == -1


def test_report_evaluation_of_category_counts():
    text = "False finding: {}, Omission: {}, Location: {}"
    truth = [(0, 1, 0), (2, 0, 0), (1, 1, 2), (3, 2, 2)]
    said = [text.format(0, 1, 0), text.format(1, 0, 1), text.format(1, 2, 0), "many"]
    pairs = make_pairs(list("abcd"), said, [text.format(*counts) for counts in truth])
    report = evaluate(pairs, metrics="report_evaluation")
    assert report.result("kendall_tau_b").value == pytest.approx((3 - 3) / 6)
    assert report.result("kendall_tau_b").n_scored == 4
    assert report.result("errors_mae").value == pytest.approx((0 + 2 / 3 + 1) / 3)
    assert report.result("errors_mae").n_scored == 3
    assert report.parts[0].counts["unparsed_answers"] == 1
    with pytest.raises(DataError, match=r"true answers have \[1, 2\] numbers"):
        evaluate(make_pairs(["a", "b"], ["1", "1"], ["1", "1, 2"]), metrics="report_evaluation")


def test_numbers_after_colons_win():
    assert numbers_of("2 reports: 3, then: 4.5", {}) == (3, 4.5)
    assert numbers_of("about 3", {}) == (3,)
    assert numbers_of(True, {}) is None
    assert numbers_of([1, 2], {}) == (1, 2)
    assert numbers_of("none", {}) is None


def test_relations_that_nobody_has_or_gives_have_no_score():
    pairs = make_pairs(["a"], ['[["clear", "OBS"]]'], ['[["clear", "OBS"]]'])
    report = evaluate(pairs, metrics="ner")
    assert report.result("entity_f1").value == 1
    assert report.result("relation_f1").value is None
    assert "n/a (undefined for these answers)" in report.markdown()
    said = '{"entities": [], "relations": [["a", "b", "at"]]}'
    report = evaluate(make_pairs(["a"], [said], ['[["clear", "OBS"]]']), metrics="ner")
    assert [report.result(f"relation_{name}").value for name in ("precision", "recall", "f1")] == [0, 0, 0]
