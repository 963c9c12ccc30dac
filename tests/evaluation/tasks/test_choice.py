import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from instruct.errors import DataError
from instruct.evaluation import evaluate, make_pairs
from instruct.evaluation.tasks.answers import choice_of, yes_no_of
from instruct.evaluation.tasks.choice import (
    UNREAD,
    class_macro_accuracy,
    class_macro_f1,
    finding_macro_accuracy,
)

OPTIONS = {"options": ["Frontal view", "Lateral view"]}
CODES = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Frontal view", "frontal view"),
        (" lateral  VIEW.", "lateral view"),
        ("A", "frontal view"),
        ("(b)", "lateral view"),
        ("B. Lateral view", "lateral view"),
        ("B) I think", "lateral view"),
        ("The answer is B", "lateral view"),
        ("It is a frontal view of the chest", "frontal view"),
        ("Frontal view or lateral view", None),
        ("C", None),
        ("A frontal one", None),
        ("", None),
        (3, None),
    ],
)
def test_choice_is_read_by_the_menu(text, expected):
    assert choice_of(text, OPTIONS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Yes.", "yes"), ("**no**, clear", "no"), (True, "yes"), ("Yesterday", None), ("perhaps", None), ("", None)],
)
def test_yes_no(text, expected):
    assert yes_no_of(text, {}) == expected


@given(CODES)
def test_class_scores_agree_with_scikit_learn(codes):
    answers = np.array([answer for answer, _ in codes], dtype=float)
    targets = np.array([target for _, target in codes], dtype=float)
    classes = sorted({*targets, *answers[answers != UNREAD]})
    expected = f1_score(targets, answers, labels=classes, average="macro", zero_division=0)
    assert class_macro_f1(answers, targets) == pytest.approx(expected)
    recalls = recall_score(targets, answers, labels=sorted(set(targets)), average="macro", zero_division=0)
    assert class_macro_accuracy(answers, targets) == pytest.approx(recalls)


def test_temporal_macro_accuracy_is_a_mean_over_findings():
    answers, targets = np.array([0, 0, 1, 2.0]), np.array([0, 1, 1, 2.0])
    findings = np.array([0, 0, 0, 1.0])
    assert finding_macro_accuracy(answers, targets, findings) == pytest.approx(((1 + 0.5) / 2 + 1) / 2)


def test_nli_reports_what_was_read_as_what():
    classes = ["contradiction", "entailment", "neutral"]
    random = np.random.default_rng(0)
    targets, said = (random.choice(choices, 60).tolist() for choices in (classes, [*classes, "perhaps"]))
    pairs = make_pairs([str(n) for n in range(60)], said, targets, [{"options": classes}] * 60)
    counts = evaluate(pairs, metrics="nli").parts[0].counts
    expected = confusion_matrix(targets, said, labels=[*classes, "perhaps"])
    for row, true in enumerate(classes):
        for column, answer in enumerate([*classes, "unparsed"]):
            assert counts[f"nli: {true} read as {answer}"] == expected[row, column]
    assert counts["unparsed_answers"] == said.count("perhaps") > 0


def test_unread_answers_are_counted_and_wrong():
    extras = [OPTIONS] * 4
    said = ["Frontal view", "I cannot tell", "", "B"]
    pairs = make_pairs(list("abcd"), said, ["Frontal view", "Frontal view", "Lateral view", "Lateral view"], extras)
    report = evaluate(pairs, metrics="choice")
    assert report.result("choice_accuracy").value == 0.5
    assert report.result("choice_accuracy").n_scored == 4
    assert report.result("choice_macro_f1").n_scored == 4
    assert report.parts[0].counts["unparsed_answers"] == 2


def test_a_parsed_answer_wins_over_the_text_and_null_is_unread():
    extras = [{"answer": "stable", "finding": "edema"}, {"answer": None, "finding": "edema"}]
    pairs = make_pairs(["a", "b"], ["C", "improving"], ["stable", "improving"], extras)
    report = evaluate(pairs, metrics="temporal")
    assert report.result("temporal_accuracy").value == 0.5
    assert report.result("temporal_macro_accuracy").value == 0.5
    assert report.parts[0].counts["unparsed_answers"] == 1


def test_a_target_outside_the_options_is_an_error_of_the_file():
    pairs = make_pairs(["a"], ["A"], ["Oblique view"], [OPTIONS])
    with pytest.raises(DataError, match="example 'a': the true answer 'Oblique view' cannot be read"):
        evaluate(pairs, metrics="choice")


def test_nli_and_yes_no_by_task():
    rows = [
        {"task": "Natural Language Inference", "options": ["entailment", "neutral", "contradiction"]},
        {"task": "Natural Language Inference", "options": ["entailment", "neutral", "contradiction"]},
    ]
    pairs = make_pairs(["1", "2"], ["Entailment", "neutral"], ["entailment", "contradiction"], rows)
    assert evaluate(pairs).result("nli_accuracy").value == 0.5
    assert evaluate(make_pairs(["1"], ["Yes"], ["yes"]), metrics="yes_no").result("yes_no_accuracy").value == 1


def test_options_that_are_no_list():
    pairs = make_pairs(["a"], ["A"], ["x"], [{"options": "x, y"}])
    with pytest.raises(DataError, match="options is 'x, y'; expected a list of the possible answers"):
        evaluate(pairs, metrics="choice")


def test_temporal_macro_accuracy_of_answers_is_a_mean_over_findings():
    """Edema is right in 3 of 4, all one class; effusion in 1 of 2 classes: (3/4 + 1/2) / 2, over all classes 7/12."""
    rows = [("edema", "stable", "stable")] * 3 + [("edema", "improving", "stable")]
    rows += [("effusion", "worsening", "worsening"), ("effusion", "stable", "improving")]
    pairs = make_pairs(
        list("abcdef"),
        [said for _, said, _ in rows],
        [true for _, _, true in rows],
        [{"finding": finding, "options": ["improving", "stable", "worsening"]} for finding, _, _ in rows],
    )
    report = evaluate(pairs, metrics="temporal")
    assert report.result("temporal_macro_accuracy").value == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert report.result("temporal_accuracy").value == pytest.approx(4 / 6)


def test_a_metric_of_which_some_columns_are_imported(jsonl):
    """The imported column stays and says so; the rest is computed."""
    pairs = make_pairs(["a", "b"], ["stable", "stable"], ["stable", "improving"], [{"finding": "edema"}] * 2)
    rows = [{"id": study, "temporal_correct": 0.25} for study in pairs.ids]
    report = evaluate(pairs, metrics="temporal", scores=jsonl(rows))
    assert report.parts[0].columns["temporal_correct"].tolist() == [0.25, 0.25]
    assert report.result("temporal_accuracy").origin.startswith("imported")
    assert report.result("temporal_macro_accuracy").value == 0.5
    assert report.result("temporal_macro_accuracy").origin == "computed"
    rows = [{"id": study, "temporal_finding": place} for place, study in enumerate(pairs.ids)]
    report = evaluate(pairs, metrics="temporal", scores=jsonl(rows))
    assert report.result("temporal_macro_accuracy").origin.startswith("computed; imported from file.jsonl")
