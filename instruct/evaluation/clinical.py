"""The metrics that need a trained model: their columns, statistics and what they need.

Each takes its per-study columns from a score file made elsewhere (``--scores``).
"""

from __future__ import annotations

from typing import Any

from instruct.evaluation.metric import Column, Metric, Statistic, mean_metric
from instruct.evaluation.tasks.labels import macro_f1, micro_f1

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
_BASELINE = 0.8473319


def _weights(what: str, columns: str) -> dict[str, Any]:
    return {"reason": "weights missing", "remedy": f"needs {what}; or give {columns} with --scores"}


BERTSCORE = mean_metric(
    "bertscore",
    "BERTScore",
    "bertscore[distilroberta-base, L5, F1, rescaled 0.8473319, idf=off, mean of studies]",
    low=-_BASELINE / (1 - _BASELINE) - 1e-3,
    aliases=("BertScore", "BERTScore"),
    **_weights("distilroberta-base (about 330 MB, Apache-2.0)", "the column 'bertscore'"),
)
SEMBSCORE = mean_metric(
    "sembscore",
    "SembScore",
    "sembscore[cosine of CheXbert CLS vectors, mean of studies]",
    low=-1.0,
    aliases=("semb_score", "SembScore"),
    **_weights("chexbert.pth (1.31 GB, StanfordAIMI/RRG_scorers; research use)", "the column 'sembscore'"),
)
RADGRAPH_F1 = mean_metric(
    "radgraph_f1",
    "RadGraph-F1",
    "radgraph-f1[radgraph, mean of entity and relation set F1, case-sensitive, mean of studies]",
    aliases=("radgraph_combined", "RadGraph"),
    **_weights("radgraph.tar.gz (432 MB, StanfordAIMI/RRG_scorers)", "the column 'radgraph_f1'"),
)
RADGRAPH_LEVELS = tuple(
    mean_metric(
        f"radgraph_{level}",
        f"F1RadGraph {level}",
        f"f1radgraph-{level}[{what}, mean of studies]",
        **_weights("a RadGraph checkpoint (about 430 MB, StanfordAIMI/RRG_scorers)", f"the column 'radgraph_{level}'"),
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
    "ratescore[RaTE-NER + BioLORD, weights 'long', mean of studies]",
    high=1.01,
    aliases=("RaTEScore",),
    **_weights("RaTE-NER-Deberta (735 MB, MIT) and BioLORD-2023-C (SNOMED and UMLS terms)", "the column 'ratescore'"),
)


def _f1chexbert(name: str, label: str, average: Any, rows: list[int] | None) -> Statistic:
    def combine(prediction: Any, reference: Any) -> float:
        if rows is not None:
            prediction, reference = prediction[:, rows], reference[:, rows]
        return float(average(prediction, reference))

    return Statistic(
        f"f1chexbert_{name}",
        f"F1CheXbert {label}",
        f"f1chexbert-{name}[positive or uncertain = 1, zero division 0]",
        "higher",
        ("chexbert_prediction", "chexbert_reference"),
        combine,
    )


F1CHEXBERT = Metric(
    name="f1chexbert",
    columns=(
        Column("chexbert_prediction", width=len(CHEXBERT_LABELS)),
        Column("chexbert_reference", width=len(CHEXBERT_LABELS)),
    ),
    statistics=(
        _f1chexbert("14_micro", "14 micro", micro_f1, None),
        _f1chexbert("14_macro", "14 macro", macro_f1, None),
        _f1chexbert("5_micro", "5 micro", micro_f1, _TOP_FIVE),
        _f1chexbert("5_macro", "5 macro", macro_f1, _TOP_FIVE),
    ),
    **_weights(
        "chexbert.pth (1.31 GB, StanfordAIMI/RRG_scorers; research use)",
        "the columns 'chexbert_prediction' and 'chexbert_reference' (14 numbers 0/1 each)",
    ),
)
