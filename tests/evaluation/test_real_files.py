"""On the published files, where they are present; texts of theirs are read and never stored."""

import csv
import json

import nltk.translate.bleu_score as nltk_bleu
import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from instruct.evaluation import evaluate, read_predictions, read_references
from instruct.evaluation.bleu import bleu_tokens
from instruct.evaluation.radcliq import radcliq


@pytest.mark.parametrize(("name", "n"), [("test", 590), ("valid", 296)])
def test_iu_xray_references_are_read_without_loss(shared_data, name, n):
    path = shared_data / "rexrank-iu_xray" / "data" / "iu_xray" / f"ReXRank_IUXray_{name}.json"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    records = json.loads(path.read_text())
    findings = read_references(path)
    assert len(findings) == n
    assert findings == {study: record["section_findings"] for study, record in records.items()}
    joint = read_references(path, section="findings+impression")
    assert joint == {study: record["report"] for study, record in records.items()}


def test_early_tables_hold_both_versions_of_radcliq(shared_data):
    """Rows of three decimals, with RadCliQ-v0 and -v1 as they are."""
    rows = [
        row
        for path in sorted((shared_data / "rexrank-iu_xray" / "results").glob("result_iu_xray*.csv"))
        for row in csv.DictReader(path.read_text("utf-8").splitlines())
    ]
    if not rows:
        pytest.skip("the early tables are absent")
    slopes = {"v0": (1.5890342, 3.0098301, 1.8733717, 0.7139418), "v1": (1.2452163, 1.6508453, 0.9947717, 0)}
    names = ("RadGraph", "BertScore", "SembScore", "BLEU")
    for version, slope in slopes.items():
        given = np.array([[float(row[name]) for name in names] for row in rows])
        printed = np.array([float(row[f"RadCliQ-{version}"]) for row in rows])
        slack = 0.0005 * (1 + sum(slope)) + 1e-9
        assert np.abs(radcliq(*given.T, version=version) - printed).max() <= slack
        assert np.abs(radcliq(*given.T[[1, 0, 2, 3]], version=version) - printed).max() > 10 * slack
    no_bleu = radcliq(*given.T[:3], version="v0") - [float(row["RadCliQ-v0"]) for row in rows]
    assert np.abs(no_bleu).max() > 0.05  # its BLEU counts


def test_382_real_predictions(shared_data):
    found = sorted((shared_data / "iu_xray-predictions").rglob("test_result.json"))
    if not found:
        pytest.skip("the real predictions are absent")
    references = found[0].with_name("test_refs.json")
    report = evaluate(found[0], references)
    pairs = read_predictions(found[0], references)
    (part,) = report.parts
    assert (part.n_given, part.n_scored, sum(part.empty)) == (382, 382, 0)
    smoothing = nltk_bleu.SmoothingFunction().method1
    for order in (1, 2, 3, 4):
        expected = [
            nltk_bleu.sentence_bleu(
                [bleu_tokens(reference)],
                bleu_tokens(prediction),
                tuple(1 / order for _ in range(order)),
                smoothing_function=smoothing,
            )
            for prediction, reference in zip(pairs.predictions, pairs.texts, strict=True)
        ]
        assert np.allclose(part.columns[f"bleu{order}"], expected, rtol=0, atol=1e-12)
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    expected = [scorer.score(r, p)["rougeL"].fmeasure for p, r in zip(pairs.predictions, pairs.texts, strict=True)]
    assert np.allclose(part.columns["rouge_l"], expected, rtol=0, atol=1e-12)
    assert all(result.ci95 is not None for result in part.results.values())
    assert set(part.skipped) >= {"bertscore", "sembscore", "radgraph_f1", "inv_radcliq_v1", "ratescore", "green"}
