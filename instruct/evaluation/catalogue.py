"""Every metric, in the order of the tables, and the names that choose several at once."""

from __future__ import annotations

from collections.abc import Sequence

from instruct.errors import UsageError
from instruct.evaluation import clinical
from instruct.evaluation.bleu import BLEU
from instruct.evaluation.fineradscore import FINERADSCORE
from instruct.evaluation.green import GREEN
from instruct.evaluation.metric import Column, Metric
from instruct.evaluation.radcliq import RADCLIQ_V0, RADCLIQ_V1
from instruct.evaluation.rouge import ROUGE_L
from instruct.evaluation.tasks.boxes import BOXES
from instruct.evaluation.tasks.choice import CHOICE, NLI, TEMPORAL, YES_NO
from instruct.evaluation.tasks.entities import NER
from instruct.evaluation.tasks.judging import JUDGING
from instruct.evaluation.tasks.labels import LABELS
from instruct.evaluation.tasks.masks import MASKS
from instruct.evaluation.tasks.vqa import VQA

_LEXICAL = (*BLEU, ROUGE_L)
_CLINICAL = (
    clinical.BERTSCORE,
    clinical.SEMBSCORE,
    clinical.RADGRAPH_F1,
    RADCLIQ_V0,
    RADCLIQ_V1,
    clinical.RATESCORE,
    GREEN,
    FINERADSCORE,
    clinical.F1CHEXBERT,
    *clinical.RADGRAPH_LEVELS,
)
_OTHER = (clinical.BERTSCORE_MINILM,)
_TASKS = (LABELS, CHOICE, YES_NO, TEMPORAL, BOXES, MASKS, VQA, NER, NLI, JUDGING)

METRICS: dict[str, Metric] = {metric.name: metric for metric in (*_LEXICAL, *_CLINICAL, *_OTHER, *_TASKS)}

GROUPS: dict[str, tuple[str, ...]] = {
    "report": tuple(metric.name for metric in (*_LEXICAL, *_CLINICAL)),
    "lexical": tuple(metric.name for metric in _LEXICAL),
    "text": (*(metric.name for metric in _LEXICAL), "bertscore", *(m.name for m in clinical.RADGRAPH_LEVELS)),
    "segmentation": ("boxes", "masks"),
    "rexrank": (
        "bleu2",
        "bertscore",
        "sembscore",
        "radgraph_f1",
        "radcliq_v1",
        "ratescore",
        "green",
        "fineradscore",
    ),
}


def all_columns() -> list[Column]:
    """Per-study columns of every metric."""
    return [column for metric in METRICS.values() for column in metric.columns]


def select(names: Sequence[str]) -> tuple[list[Metric], set[str]]:
    """Metrics by name, with the components of composites put in front of them.

    Args:
        names: names of metrics, of summary statistics (``inv_radcliq_v1``) or of groups (``lexical``).

    Returns:
        The metrics in catalogue order, and which of them were asked for by their own name.

    Raises:
        UsageError: a name is unknown.
    """
    by_statistic = {statistic.name: metric for metric in METRICS.values() for statistic in metric.statistics}
    chosen: set[str] = set()
    named: set[str] = set()
    for name in names:
        if name in GROUPS:
            chosen.update(GROUPS[name])
            continue
        metric = METRICS.get(name) or by_statistic.get(name)
        if metric is None:
            raise UsageError(
                f"unknown metric {name!r}; expected one of {', '.join((*GROUPS, *METRICS))}, "
                "or the name of a summary number"
            )
        chosen.add(metric.name)
        named.add(metric.name)
    for name in list(chosen):
        chosen.update(METRICS[name].needs)
    return [metric for name, metric in METRICS.items() if name in chosen], named
