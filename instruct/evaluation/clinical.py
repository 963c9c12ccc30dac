"""The metrics that need a trained model: their columns and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from instruct.evaluation.metric import Column, Metric, Statistic, mean_metric
from instruct.evaluation.models.scoring import bertscore_by, chexbert_labels, radgraph_by, ratescores, sembscore
from instruct.evaluation.radgraph import Annotation, radgraph_f1, set_f1
from instruct.evaluation.tasks.labels import macro_f1, macro_f1_of_resample, micro_f1

Average = Callable[..., float]

CHEXBERT_LABELS = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)
_TOP_FIVE = [
    CHEXBERT_LABELS.index(name)
    for name in ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
]
_ALL = slice(None)
_BASELINE = 0.8473319


BERTSCORE = mean_metric(
    "bertscore",
    "BERTScore",
    "bertscore[distilroberta-base, L5, F1, rescaled 0.8473319, idf=off, mean of studies]",
    bertscore_by("distilroberta-base", "bertscore", _BASELINE, prefix_space=True),
    low=-_BASELINE / (1 - _BASELINE) - 1e-3,
    high=1 + 1e-3,  # a cosine of 32-bit floats may pass 1 in the seventh digit, and rescaling makes it the sixth
    aliases=("BertScore", "BERTScore"),
)
BERTSCORE_MINILM = mean_metric(
    "bertscore_minilm",
    "BERTScore-like (MiniLM)",
    "bertscore-like[all-MiniLM-L6-v2, L5, F1, raw, idf=off, mean of studies]; on no leaderboard",
    bertscore_by("all-minilm-l6-v2", "bertscore_minilm", None, prefix_space=False),
    low=-1.0,
)
SEMBSCORE = mean_metric(
    "sembscore",
    "SembScore",
    "sembscore[cosine of CheXbert CLS vectors, mean of studies]",
    sembscore,
    low=-1.0,
    aliases=("semb_score", "SembScore"),
)
RADGRAPH_F1 = mean_metric(
    "radgraph_f1",
    "RadGraph-F1",
    "radgraph-f1[radgraph, mean of entity and relation set F1, case-sensitive, mean of studies]",
    radgraph_by("radgraph_f1", lambda said, true: radgraph_f1(said.graph(), true.graph())),
    aliases=("radgraph_combined", "RadGraph"),
)


def _level(name: str) -> Callable[[Annotation, Annotation], float]:
    return lambda said, true: set_f1(said.level(name), true.level(name))


RADGRAPH_LEVELS = tuple(
    mean_metric(
        f"radgraph_{level}",
        f"F1RadGraph {level}",
        f"f1radgraph-{level}[radgraph, {what}, as in F1RadGraph 0.1.18, mean of studies]",
        radgraph_by(f"radgraph_{level}", _level(level)),
    )
    for level, what in (
        ("simple", "entity and label"),
        ("partial", "entity, label and whether it has a relation"),
        ("complete", "entity, label and relations"),
    )
)
RATESCORE = mean_metric(
    "ratescore",
    "RaTEScore",
    "ratescore[RaTE-NER + BioLORD, weights 'long', own sentence splitter, mean of studies]",
    ratescores,
    high=1.01,
    aliases=("RaTEScore",),
)


def _f1chexbert(name: str, label: str, average: Average, rows: Any, resampled: Average | None = None) -> Statistic:
    def of_rows(combine: Average) -> Average:
        return lambda *columns: combine(*(column[:, rows] for column in columns))

    return Statistic(
        f"f1chexbert_{name}",
        f"F1CheXbert {label}",
        f"f1chexbert-{name}[positive or uncertain = 1, zero division 0]",
        "higher",
        ("chexbert_prediction", "chexbert_reference"),
        of_rows(average),
        resampled=None if resampled is None else of_rows(resampled),
    )


F1CHEXBERT = Metric(
    name="f1chexbert",
    columns=(
        Column("chexbert_prediction", width=len(CHEXBERT_LABELS)),
        Column("chexbert_reference", width=len(CHEXBERT_LABELS)),
    ),
    statistics=(
        _f1chexbert("14_micro", "14 micro", micro_f1, _ALL),
        _f1chexbert("14_macro", "14 macro", macro_f1, _ALL, macro_f1_of_resample),
        _f1chexbert("5_micro", "5 micro", micro_f1, _TOP_FIVE),
        _f1chexbert("5_macro", "5 macro", macro_f1, _TOP_FIVE, macro_f1_of_resample),
    ),
    score=chexbert_labels,
)
