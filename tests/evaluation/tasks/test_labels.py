import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import f1_score

from instruct.evaluation import evaluate, make_pairs
from instruct.evaluation.tasks.answers import labels_of
from instruct.evaluation.tasks.labels import macro_f1, micro_f1

BITS = st.integers(1, 12).flatmap(lambda n: st.tuples(*[arrays(np.int64, (n, 3), elements=st.integers(0, 1))] * 2))


@given(BITS)
def test_f1_agrees_with_scikit_learn(bits):
    prediction, reference = bits
    for ours, average in ((macro_f1, "macro"), (micro_f1, "micro")):
        expected = f1_score(reference, prediction, average=average, zero_division=0)
        assert ours(prediction, reference) == pytest.approx(expected)


def test_labels_of_text_and_lists():
    assert labels_of("Edema, Pleural  Effusion.", {}) == {"edema", "pleural effusion"}
    assert labels_of(["Edema"], {"options": ["edema", "none"]}) == {"edema"}
    assert labels_of("none", {"options": ["edema", "none"]}) == {"none"}
    assert labels_of("No finding", {}) == frozenset()
    assert labels_of("gout", {"options": ["edema"]}) is None
    assert labels_of(["gout", "edema"], {"options": ["edema"]}) is None
    assert labels_of("(A) Edema\n(C) Lung, upper", {"options": ["Edema", "none", "Lung, upper"]}) == {
        "edema",
        "lung, upper",
    }
    assert labels_of("B, A", {"options": ["Edema", "Effusion"]}) == {"edema", "effusion"}
    assert labels_of(3, {}) is None


def test_unread_sets_cost_recall_and_are_counted():
    extras = [{"options": ["Edema", "Effusion", "Fracture"]}] * 4
    pairs = make_pairs(
        list("abcd"), ["Edema", "Edema, Effusion", "gout", "None"], ["edema", "effusion", "edema", "none"], extras
    )
    report = evaluate(pairs, metrics="labels")
    assert report.result("label_exact").value == 0.5
    assert report.result("label_f1").value == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)
    edema, effusion, fracture = 2 * 1 / (2 + 2), 1.0, 0.0
    assert report.result("label_macro_f1").value == pytest.approx((edema + effusion + fracture) / 3)
    assert report.result("label_micro_f1").value == pytest.approx(2 * 2 / (3 + 3))
    assert report.parts[0].counts == {"unparsed_answers": 1, "closed_set_labels": 3}
    assert report.table().column_names[-2:] == ["label_exact", "label_f1"]


def test_labels_that_a_resample_did_not_draw_do_not_lower_the_interval():
    """Perfect answers with rare labels: whatever is drawn is perfect; a label that nobody has counts 0 in all."""
    names = [f"label {place}" for place in range(14)]
    truth = [[name for place, name in enumerate(names) if study % (3 * place + 2) == 0] for study in range(60)]
    extras = [{"options": names, "target": labels, "answer": labels} for labels in truth]
    pairs = make_pairs([str(study) for study in range(60)], [""] * 60, [None] * 60, extras)
    assert evaluate(pairs, metrics="labels").result("label_macro_f1").ci95 == pytest.approx((1, 1))
    extras = [{**extra, "options": [*names, "absent", "unseen"]} for extra in extras]
    found = evaluate(make_pairs(pairs.ids, [""] * 60, [None] * 60, extras), metrics="labels").result("label_macro_f1")
    assert (found.value, *found.ci95) == pytest.approx((14 / 16,) * 3)


def test_f1chexbert_macro_intervals_hold_their_value(jsonl):
    labels = [[float(study % (3 * place + 2) == 0) for place in range(14)] for study in range(60)]
    ids = [str(study) for study in range(60)]
    rows = [
        {"id": study, "chexbert_prediction": row, "chexbert_reference": row}
        for study, row in zip(ids, labels, strict=True)
    ]
    report = evaluate(make_pairs(ids, ["x"] * 60, ["x"] * 60), metrics="f1chexbert", scores=jsonl(rows))
    for name in ("14_macro", "5_macro", "14_micro", "5_micro"):
        found = report.result(f"f1chexbert_{name}")
        assert (found.value, *found.ci95) == pytest.approx((1, 1, 1)), name


def test_invented_labels_count_where_no_options_are_given():
    """The case by scikit-learn over edema, gout, cancer, mass: micro 4/7, macro 1/4."""
    report = evaluate(make_pairs(["a", "b"], ["edema, gout, cancer", "edema, mass"], ["edema"] * 2), metrics="labels")
    reference = np.array([[1, 0, 0, 0], [1, 0, 0, 0]])
    prediction = np.array([[1, 1, 1, 0], [1, 0, 0, 1]])
    for average in ("micro", "macro"):
        expected = f1_score(reference, prediction, average=average, zero_division=0)
        assert report.result(f"label_{average}_f1").value == pytest.approx(expected)
    assert report.result("label_micro_f1").value == pytest.approx(0.571, abs=1e-3)
