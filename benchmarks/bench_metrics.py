"""Lexical metrics against the usual packages, and RadGraph in batches against one by one, in one run.

    python benchmarks/bench_metrics.py [--pairs 10000] [--reports 300] [--repeats 3]

Prints Markdown tables of pairs (reports) per second of processor time, best of the repeats, taken in turn, the ratio,
and the largest difference of the values. All reports are invented; RadGraph runs on the tiny random checkpoint of the
tests. Needs the ``dev`` extra.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nltk
import numpy as np
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from rouge_score.rouge_scorer import RougeScorer

from instruct.evaluation.bleu import BLEU, bleu_tokens
from instruct.evaluation.metric import Metric, Settings
from instruct.evaluation.pairs import Pairs, make_pairs
from instruct.evaluation.rouge import ROUGE_L

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.evaluation import tiny

PLACES = ("left", "right", "bilateral", "lower lobe", "upper lobe", "basal", "perihilar", "retrocardiac")
FINDINGS = ("effusion", "opacity", "atelectasis", "consolidation", "edema", "nodule", "pneumothorax", "scarring")
FORMS = (
    "there is a small {} {}.",
    "no {} {} is seen.",
    "the {} {} has increased since the prior study.",
    "stable {} {}, likely chronic.",
    "mild {} {} without other change.",
)


def invented(n: int, seed: int = 0) -> Pairs:
    """Pairs of reports of about 60 words that share some of their sentences."""
    random = np.random.default_rng(seed)

    def sentence() -> str:
        return str(random.choice(FORMS)).format(random.choice(PLACES), random.choice(FINDINGS)).capitalize()

    pool = [sentence() for _ in range(400)]
    texts = [" ".join(random.choice(pool, random.integers(5, 14))) for _ in range(2 * n)]
    shared = [" ".join(random.choice(pool, 3)) for _ in range(n)]
    references = [f"{one} {other}" for one, other in zip(shared, texts[:n], strict=True)]
    predictions = [f"{one} {other}" for one, other in zip(shared, texts[n:], strict=True)]
    return make_pairs([str(row) for row in range(n)], predictions, references)


def ours(metric: Metric, pairs: Pairs) -> np.ndarray:
    assert metric.score is not None
    return metric.score(pairs, Settings()).columns[metric.name]


def nltk_bleu2(pairs: Pairs) -> np.ndarray:
    smoothing = SmoothingFunction().method1
    return np.array(
        [
            sentence_bleu([bleu_tokens(reference)], bleu_tokens(prediction), (0.5, 0.5), smoothing_function=smoothing)
            for prediction, reference in zip(pairs.predictions, pairs.texts, strict=True)
        ]
    )


def package_rouge_l(pairs: Pairs) -> np.ndarray:
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    return np.array(
        [
            scorer.score(reference, prediction)["rougeL"].fmeasure
            for prediction, reference in zip(pairs.predictions, pairs.texts, strict=True)
        ]
    )


def timed(work: Callable[[], np.ndarray]) -> tuple[float, np.ndarray]:
    start = time.process_time()
    values = work()
    return time.process_time() - start, values


def radgraph(reports: int, repeats: int) -> None:
    """Distinct reports annotated in batches and one by one, by the same code on the same checkpoint."""
    import torch

    from instruct.evaluation.models.radgraph_archive import load_radgraph
    from instruct.evaluation.models.radgraph_network import annotate
    from instruct.evaluation.models.runtime import BATCH

    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(tiny.WORDS, 40)) + "." for _ in range(reports)]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        tiny.radgraph(root / "radgraph", root / "encoder")
        model = load_radgraph(root / "radgraph", root / "encoder", torch.device("cpu"))
    seconds = {BATCH: float("inf"), 1: float("inf")}
    found = {}
    for _ in range(repeats):
        for batch in seconds:
            start = time.process_time()
            found[batch] = annotate(model, texts, batch)
            seconds[batch] = min(seconds[batch], time.process_time() - start)
    differ = sum(one != other for one, other in zip(found[BATCH], found[1], strict=True))
    rates = [reports / seconds[batch] for batch in seconds]
    print(f"\n{reports} reports of 40 words, torch {torch.__version__}, {torch.get_num_threads()} thread\n")
    print("| model | in batches, reports/s | one by one, reports/s | ratio | annotations that differ |")
    print("|---|---|---|---|---|")
    print(f"| RadGraph (tiny) | {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[0] / rates[1]:.1f} | {differ} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--reports", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    pairs = invented(options.pairs)
    words = np.mean([len(text.split()) for text in pairs.texts])
    contests = (
        ("BLEU-2", lambda: ours(BLEU[1], pairs), f"nltk {nltk.__version__}", lambda: nltk_bleu2(pairs)),
        ("ROUGE-L", lambda: ours(ROUGE_L, pairs), "rouge-score", lambda: package_rouge_l(pairs)),
    )
    print(f"{options.pairs} pairs, {words:.0f} words each; Python {platform.python_version()}\n")
    print("| metric | ours, pairs/s | the usual package | pairs/s | ratio | largest difference |")
    print("|---|---|---|---|---|---|")
    for name, mine, package, theirs in contests:
        best_mine = best_theirs = float("inf")
        for _ in range(options.repeats):
            seconds, values = timed(mine)
            best_mine = min(best_mine, seconds)
            seconds, expected = timed(theirs)
            best_theirs = min(best_theirs, seconds)
        gap = np.abs(values - expected).max()
        rates = options.pairs / best_mine, options.pairs / best_theirs
        print(f"| {name} | {rates[0]:,.0f} | {package} | {rates[1]:,.0f} | {rates[0] / rates[1]:.1f} | {gap:.1e} |")
    radgraph(options.reports, options.repeats)


if __name__ == "__main__":
    main()
