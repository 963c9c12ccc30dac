"""RadCliQ-v0 and -v1: the released linear models over four component scores, and the reciprocal of v1.

Source: the two scikit-learn models of CXR-Report-Metric; their numbers are facts. A score is
``Σ coefficient · (component − mean) / scale + intercept``; lower is better. Version 0 counts errors per report and
has a positive BLEU slope (as released); version 1 ranks and gives BLEU no weight worth the name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from instruct.evaluation.metric import Column, Metric, Scores, Statistic, Values

COMPONENTS = ("radgraph_f1", "bertscore", "sembscore", "bleu2")


@dataclass(frozen=True)
class _Model:
    mean: tuple[float, float, float, float]
    scale: tuple[float, float, float, float]
    coefficient: tuple[float, float, float, float]
    intercept: float


_MODELS = {
    "v0": _Model(
        mean=(0.5398376019082272, 0.6312549595000001, 0.7716797866672277, 0.4607372064809605),
        scale=(0.3018344440559102, 0.22466950746141123, 0.24750333805236252, 0.30336670936092264),
        coefficient=(-0.4796252644863446, -0.6762170542369337, -0.46366575161751994, 0.2165861905287535),
        intercept=1.641666666666666,
    ),
    "v1": _Model(
        mean=(0.5379231241355762, 0.6175725628125001, 0.7647942121140658, 0.44738335396242174),
        scale=(0.3028258411486429, 0.22430938459304575, 0.2539439110169773, 0.2989271671041838),
        coefficient=(-0.37708368261038905, -0.37030009974480316, -0.25261621789593225, 4.315048405024756e-12),
        intercept=2.466552561323256e-10,
    ),
}


def radcliq(
    radgraph_f1: Values | float,
    bertscore: Values | float,
    sembscore: Values | float,
    bleu2: Values | float = 0.0,
    *,
    version: Literal["v0", "v1"] = "v1",
) -> Values:
    """RadCliQ of component scores (numbers or arrays of one shape, NaN stays NaN).

    Args:
        radgraph_f1: mean of entity and relation F1.
        bertscore: distilroberta-base layer 5, rescaled.
        sembscore: cosine of the CheXbert vectors.
        bleu2: needed by version 0 only.
        version: which released model.

    Returns:
        The score, lower is better: −1.4407 (v1) or −0.2421 (v0) where every component is 1.
    """
    model = _MODELS[version]
    total = np.asarray(model.intercept, dtype=np.float64)
    parts = (radgraph_f1, bertscore, sembscore, bleu2)
    for part, mean, scale, slope in zip(parts, model.mean, model.scale, model.coefficient, strict=True):
        total = total + slope * (np.asarray(part, dtype=np.float64) - mean) / scale
    return total


def _compose_v0(columns: Mapping[str, Values]) -> Scores:
    return Scores({"radcliq_v0": radcliq(*(columns[name] for name in COMPONENTS), version="v0")})


def _compose_v1(columns: Mapping[str, Values]) -> Scores:
    return Scores({"radcliq_v1": radcliq(*(columns[name] for name in COMPONENTS), version="v1")})


RADCLIQ_V0 = Metric(
    name="radcliq_v0",
    columns=(Column("radcliq_v0", -100, 100, aliases=("RadCliQ-v0", "cxr_metric_score")),),
    statistics=(
        Statistic("radcliq_v0", "RadCliQ-v0", "radcliq-v0[released model, mean of studies]", "lower", ("radcliq_v0",)),
    ),
    compose=_compose_v0,
    needs=COMPONENTS,
)
RADCLIQ_V1 = Metric(
    name="radcliq_v1",
    columns=(Column("radcliq_v1", -100, 100, aliases=("RadCliQ-v1",)),),
    statistics=(
        Statistic("radcliq_v1", "RadCliQ-v1", "radcliq-v1[released model, mean of studies]", "lower", ("radcliq_v1",)),
        Statistic(
            "inv_radcliq_v1",
            "1/RadCliQ-v1",
            "1/radcliq-v1[reciprocal of the mean of studies]",
            "higher",
            ("radcliq_v1",),
            reciprocal=True,
        ),
    ),
    compose=_compose_v1,
    needs=COMPONENTS,
)
