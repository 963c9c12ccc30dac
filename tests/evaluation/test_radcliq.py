from itertools import combinations

import numpy as np
import pytest

from instruct.evaluation import published_rows
from instruct.evaluation.radcliq import radcliq
from instruct.evaluation.radgraph import Annotation, Graph, radgraph_f1

COMPONENTS = ("radgraph_f1", "bertscore", "sembscore", "bleu2")


def test_perfect_pair_and_constants():
    assert radcliq(1, 1, 1, 1) == pytest.approx(-1.4406903, abs=1e-6)
    assert radcliq(1, 1, 1, 1, version="v0") == pytest.approx(-0.24213, abs=1e-5)
    assert radcliq(0, 0, 0, 0) == pytest.approx(2.4501430833, abs=1e-9)
    assert radcliq(0, 0, 0, 0, version="v0") == pytest.approx(5.5161608, abs=1e-6)


@pytest.mark.parametrize(
    ("version", "slopes"),
    [
        ("v1", (-1.2452163302, -1.6508453287, -0.9947717072, 1.44e-11)),
        ("v0", (-1.5890342, -3.0098301, -1.8733717, 0.7139418)),
    ],
)
def test_slopes(version, slopes):
    zero = radcliq(0, 0, 0, 0, version=version)
    for place, slope in enumerate(slopes):
        unit = [0.0] * 4
        unit[place] = 1.0
        assert radcliq(*unit, version=version) - zero == pytest.approx(slope, abs=1e-6)


def test_equal_reports_without_relations():
    graph = Graph(frozenset({("effusion", "OBS-DP"), ("pleural", "ANAT-DP")}), frozenset())
    assert radgraph_f1(graph, graph) == 0.5
    assert radgraph_f1(Graph(frozenset(), frozenset()), Graph(frozenset(), frozenset())) == 0
    score = radcliq(0.5, 1, 1)
    assert score == pytest.approx(-0.8180821, abs=1e-6)
    assert 1 / score == pytest.approx(-1.2223715, abs=1e-6)


def test_only_relations_of_the_level_complete_ignore_case():
    entities = (("Effusion", "OBS"), ("Left Lung", "ANAT"), ("Clear", "OBS"))
    upper = Annotation(entities, ((0, 1, "located_at"),))
    lower = Annotation(tuple((text.lower(), label) for text, label in entities), upper.relations)
    assert upper.level("complete") == {
        ("effusion", "OBS", "located_at", "left lung"),
        ("Left Lung", "ANAT"),
        entities[2],
    }
    assert upper.level("complete") & lower.level("complete") == {("effusion", "OBS", "located_at", "left lung")}
    for level in ("simple", "partial"):
        assert not upper.level(level) & lower.level(level)


def test_radgraph_f1_counts_entities_and_relations_alike():
    effusion, lung, clear = ("effusion", "OBS-DP"), ("lung", "ANAT-DP"), ("clear", "OBS-DP")
    reference = Graph(frozenset({effusion, lung}), frozenset({(effusion, lung, "located_at")}))
    prediction = Graph(frozenset({effusion, clear}), frozenset())
    assert radgraph_f1(prediction, reference) == 0.25
    assert radgraph_f1(Graph(frozenset({("Effusion", "OBS-DP")}), frozenset()), reference) == 0


def outside(columns, signs=(1.0, 1.0, 1.0), intercept=0.0):
    """Published rows whose reciprocal no rounding of the printed numbers can explain."""
    count = 0
    for row in published_rows():
        means = [row[f"{name}_mean"] for name in columns]
        center = 1 / row["inv_radcliq_v1_mean"]
        printed = row["inv_radcliq_v1_mean"]
        low, high = 1 / (printed + 0.005), 1 / (printed - 0.005)
        slack = 0.005 * (1.2452163302 + 1.6508453287 + 0.9947717072)
        signed = [sign * mean for sign, mean in zip(signs, means, strict=False)]
        value = float(radcliq(*signed, means[3])) + intercept
        assert low < center < high
        count += not low - slack - 1e-9 <= value <= high + slack + 1e-9
    return count


def test_every_published_row_is_the_reciprocal_of_the_model_of_its_means():
    assert len(published_rows()) == 88
    assert outside(COMPONENTS) == 0


@pytest.mark.parametrize("swapped", list(combinations(range(4), 2)))
def test_published_rows_catch_any_two_swapped_columns(swapped):
    columns = list(COMPONENTS)
    one, other = swapped
    columns[one], columns[other] = columns[other], columns[one]
    assert outside(columns) > 20


@pytest.mark.parametrize("place", range(3))
def test_published_rows_catch_a_wrong_sign(place):
    signs = [1.0, 1.0, 1.0]
    signs[place] = -1.0
    assert outside(COMPONENTS, signs) > 80


def test_published_rows_catch_a_wrong_constant():
    assert outside(COMPONENTS, intercept=0.2) > 60


def test_missing_components_stay_missing():
    values = radcliq(np.array([0.5, np.nan]), np.array([1.0, 1.0]), np.array([1.0, 1.0]))
    assert np.isfinite(values[0])
    assert np.isnan(values[1])
