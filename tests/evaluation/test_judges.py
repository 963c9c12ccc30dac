import numpy as np
import pytest

from instruct.errors import DataError
from instruct.evaluation import evaluate, make_pairs
from instruct.evaluation.fineradscore import read_fineradscore
from instruct.evaluation.green import read_green

COUNTS = [
    ([2, 3, 0, 1, 0, 0], 0, 0.0),
    ([2, 1, 2, 0, 0, 0], 1, 1 / 6),
    ([0, 2, 1, 1, 0, 0], 2, 1 / 3),
    ([1, 0, 0, 0, 0, 0], 1, 1 / 2),
    ([1, 0, 1, 1, 0, 0], 1, 1 / 4),
]


def completion(significant, matched, marks="abcdef", insignificant=()):
    def section(counts):
        lines = [
            f"({mark}) an invented kind: {count}. thing one; thing two"
            for mark, count in zip(marks, counts, strict=False)
        ]
        return "\n".join(lines) or "No errors of this kind."

    findings = f"{matched}. the lungs; the heart" if matched else "No matched findings."
    return (
        f"[Explanation]:\nInvented words about two reports: 7. of them.\n\n"
        f"[Clinically Significant Errors]:\n{section(significant)}\n\n"
        f"[Clinically Insignificant Errors]:\n{section(insignificant)}\n\n"
        f"[Matched Findings]:\n{findings}\n"
    )


@pytest.mark.parametrize("marks", ["abcdef", "123456"])
@pytest.mark.parametrize(("significant", "matched", "score"), COUNTS)
def test_green_counts(significant, matched, score, marks):
    judgement = read_green(completion(significant, matched, marks, insignificant=[1, 1, 0, 0, 0, 4]))
    assert list(judgement.significant) == significant
    assert judgement.insignificant == (1, 1, 0, 0, 0, 4)
    assert judgement.matched == matched
    assert judgement.complete
    assert judgement.score == pytest.approx(score, abs=1e-12)


def test_green_of_the_five_has_the_pinned_mean_and_spread():
    scores = [read_green(completion(significant, matched)).score for significant, matched, _ in COUNTS]
    assert np.mean(scores) == pytest.approx(0.25, abs=1e-9)
    assert np.std(scores) == pytest.approx(0.1666667, abs=1e-6)


@pytest.mark.parametrize(
    "text", ["", "nonsense", "[Matched Findings]:\nfour of them", "[Clinically Significant Errors]:\n(a) x: many."]
)
def test_malformed_green_scores_zero_and_says_so(text):
    judgement = read_green(text)
    assert judgement.score == 0
    assert not judgement.complete
    assert sum(judgement.significant) == 0


def test_green_numbers_without_end_count_nothing():
    judgement = read_green(completion(["1" * 5000], "2" * 5000))
    assert (sum(judgement.significant), judgement.matched, judgement.score) == (0, 0, 0)


def test_green_matched_without_errors_is_one():
    assert read_green(completion([], 3)).score == 1


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({}, 1.0),
        ("{}", 1.0),
        ({"0": {"clinical severity": "Not actionable"}}, 1.0),
        ({"0": {"clinical severity": "Urgent error"}, "2": {"clinical severity": "Actionable nonurgent error"}}, 3.0),
        ({"None": [{"clinical severity": "Emergent error."}, {"clinical severity": "Not actionable"}]}, 4.0),
        ('Here it is: {"1": {"clinical severity": "actionable non-urgent error"}}', 2.0),
        ('Here it is: {"1": {"clinical severity": "Urgent error"}} as asked', 3.0),
        ("no object", None),
        ('{"1": ', None),
        ({"1": {"comments": "severity forgotten"}}, None),
        ({"1": "Urgent error"}, None),
        ('{"1":' * 5000 + "}", None),
        ("{" * 50_000, None),
        (None, None),
    ],
)
def test_fineradscore_is_the_worst_line(output, expected):
    assert read_fineradscore(output) == expected


def test_fineradscore_of_no_correction_is_a_stated_parameter(jsonl):
    pairs = make_pairs(["a", "b"], ["x", "y"], ["x", "z"])
    judged = jsonl([{"id": "a", "output": "{}"}, {"id": "b", "output": {"0": {"clinical severity": "Urgent error"}}}])
    default = evaluate(pairs, metrics="fineradscore", judgements={"fineradscore": judged})
    assert default.result("fineradscore").value == 2.0
    assert default.result("inv_fineradscore").value == 0.5
    zero = evaluate(pairs, metrics="fineradscore", judgements={"fineradscore": judged}, no_error_severity=0)
    assert zero.result("fineradscore").value == 1.5
    assert "no correction = 0" in zero.result("fineradscore").definition


def test_failed_judgements_are_counted_and_shrink_only_their_metric(jsonl):
    pairs = make_pairs(["a", "b", "c"], ["x", "y", "z"], ["x", "z", "z"])
    rows = [
        {"id": "a", "output": completion([1], 1)},
        {"id": "b", "output": None},
        {"id": "c", "output": "garbled"},
    ]
    report = evaluate(pairs, metrics=["green", "bleu2"], judgements={"green": jsonl(rows)})
    (part,) = report.parts
    assert report.result("green").n_scored == 2
    assert report.result("green").value == 0.25
    assert report.result("bleu2").n_scored == 3
    assert part.counts == {"green_failed": 1, "green_incomplete": 1}


def test_judgements_must_cover_every_study(jsonl):
    pairs = make_pairs(["a", "b"], ["x", "y"], ["x", "z"])
    with pytest.raises(DataError, match=r"no judge output for 1 of 2 studies: b"):
        evaluate(pairs, metrics="green", judgements={"green": jsonl([{"id": "a", "output": ""}])})
    with pytest.raises(DataError, match="id 'a' occurs twice"):
        evaluate(pairs, metrics="green", judgements={"green": jsonl([{"id": "a", "output": ""}] * 2)})
    with pytest.raises(DataError, match=r"file.jsonl:1: no 'output'"):
        evaluate(pairs, metrics="green", judgements={"green": jsonl([{"id": "a", "score": 1}])})
