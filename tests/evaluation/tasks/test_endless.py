"""Answers of models that never stop, or that are JSON of the wrong kind: wrong, counted, and no trouble to the rest."""

import json

import numpy as np
import pytest

from instruct.evaluation import evaluate, make_pairs
from instruct.prompts.dialect import DIALECTS

ANSWERS = (
    "[" * 5000, '{"a":' * 5000, "[" * 3000 + "]" * 3000, "(" * 50_000, "," * 50_000, "[1," * 20_000, "[[1,2]," * 10_000,
    "1" * 5000, f"[{'1' * 400}, 2, 3, 4]", f"[{'1' * 5000}, 2, 3, 4]", f"total: {'9' * 400}", "word " * 50_000,
    "[Infinity, 0, 1, 1]", "[NaN, 0, 1, 1]", "[-1e308, -1e308, 1e308, 1e308]", "[1e400, 0, 1, 1]", "null", "true", "\0",
    '[["effusion", {"a": 1}]]', '{"entities": [[["a"], {"b": []}]], "relations": [[{}]]}', '{"entities": "abc"}',
    '{"entities": [["a", [["b", [["c"]]]]]]}',
    f'[{{"bbox_2d": [{"1" * 400}, 2, 3, 4]}}]', '[{"bbox_2d": [null, 2, 3, 4], "label": {"x": []}}]',
    '[{"box": "abcd", "label": null}]', '[{"box": [true, false, true, true]}]', '[{"polygon": 3}]', '[{"polygon": []}]',
    '[{"polygon": [["a", "b"], [1, 2], [3, 4]]}]', f"[[[{'1' * 400}, 2], [3, 4], [5, 6]]]",
    "[[[1e400, 0], [0, 1], [1, 1]]]",
    '[{"mask": 3, "size": [2]}]', '[{"mask": "zzz", "size": [20, 20]}]', '[{"mask": "z", "size": [200000, 200000]}]',
    "<|ref|>" * 5000, "<|box|>" * 5000, "<loc0001>" * 5001,
)  # fmt: skip
BOX, POLYGON = {"target": [[0, 0, 0.5, 0.5]]}, {"target": [[[0, 0], [0.5, 0], [0.5, 0.5]]]}
ROWS = [
    ("labels", {"options": ["Edema", "Effusion"], "target": ["Edema"]}),
    ("choice", {"options": ["left lung", "heart"], "target": "heart"}),
    ("yes_no", {"target": "yes"}),
    ("nli", {"options": ["entailment", "neutral"], "target": "neutral"}),
    ("temporal", {"options": ["improving", "stable"], "target": "stable", "finding": "edema"}),
    ("vqa", {"target": "yes"}),
    ("vqa", {"options": ["left lung", "heart"], "target": ["heart"]}),
    ("ner", {"target": [["lung", "ANAT"]]}),
    ("report_evaluation", {"target": [8]}),
    ("report_evaluation", {"target": [2, 1]}),
    ("boxes", BOX),
    ("masks", POLYGON),
    *(("boxes", {**BOX, "dialect": dialect, "size": [99, 99]}) for dialect in DIALECTS),
    *(("masks", {**POLYGON, "dialect": dialect, "size": [99, 99]}) for dialect in DIALECTS),
]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("metric", "fields"), ROWS)
def test_no_answer_stops_an_evaluation_or_leaves_it(metric, fields):
    ids = [str(place) for place in range(len(ANSWERS))]
    report = evaluate(make_pairs(ids, ANSWERS, ["x"] * len(ids), [fields] * len(ids)), metrics=metric, resamples=2)
    json.dumps(report.summary(), allow_nan=False)
    (part,) = report.parts
    assert 0 < part.counts["unparsed_answers"] <= len(ANSWERS)
    for name, result in part.results.items():
        if name not in ("errors_mae", "relation_precision", "relation_recall", "relation_f1"):
            assert result.n_scored in (len(ANSWERS), 0), name
    for name in ("entity_hits", "dice"):
        assert np.all(part.columns.get(name, np.zeros(1)) <= 0.5), name
