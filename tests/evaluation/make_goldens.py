"""Makes ``goldens/*.json``: what the original packages say of the tiny checkpoints of ``tiny/``.

The packages need older libraries than this project, so each runs in an environment of its own:

    python -m venv official      # Python 3.11
    official/bin/pip install torch==2.13.0 transformers==4.57.6 bert-score==0.3.13 f1chexbert==0.0.2 radgraph==0.1.18 \\
        scikit-learn pandas appdirs
    python -m venv official-rate
    official-rate/bin/pip install torch==2.13.0 transformers==4.57.6 RaTEScore==0.6.0 medspacy==1.3.1 \\
        'numpy<2' 'pandas<3'

    python tests/evaluation/make_goldens.py build FOLDER          # in the project's environment
    official/bin/python tests/evaluation/make_goldens.py bertscore FOLDER
    official/bin/python tests/evaluation/make_goldens.py chexbert FOLDER
    official/bin/python tests/evaluation/make_goldens.py radgraph FOLDER
    official-rate/bin/python tests/evaluation/make_goldens.py ratescore FOLDER
"""

from __future__ import annotations

import json
import os
import re
import sys
from importlib.metadata import version
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

from tiny import PAIRS, TEXTS, digest, everything

GOLDENS = Path(__file__).parent / "goldens"


def bertscore(root: Path) -> dict:
    import bert_score
    from bert_score import BERTScorer

    baseline = Path(bert_score.__file__).parent / "rescale_baseline" / "en" / "distilroberta-base.tsv"
    scorer = BERTScorer(
        str(root / "distilroberta-base"),
        num_layers=5,
        lang="en",
        rescale_with_baseline=True,
        baseline_path=str(baseline),
    )
    plain = [re.sub(" +", " ", text) for text in TEXTS]  # as CXR-Report-Metric does before it calls the package
    f1 = scorer.score([plain[one] for one, _ in PAIRS], [plain[other] for _, other in PAIRS])[2]
    return {"f1": f1.tolist()}


def chexbert(root: Path) -> dict:
    import torch
    from f1chexbert import f1chexbert as package

    os.chdir(root)  # the package loads the folder "bert-base-uncased"
    package.CACHE_DIR = str(root / "chexbert")
    scorer = package.F1CheXbert(device="cpu")
    vectors = []
    for text in TEXTS:
        ids = package.tokenize(package.pd.Series([text]), scorer.tokenizer)
        with torch.no_grad():
            vectors.append(scorer.model.bert(torch.tensor(ids))[0][0, 0].tolist())
    return {"labels": [scorer.get_label(text.strip()) for text in TEXTS], "vectors": vectors}


def radgraph(root: Path) -> dict:
    from radgraph import F1RadGraph, RadGraph

    levels = F1RadGraph("all", model_type="radgraph", model_cache_dir=str(root), cuda=-1)(
        refs=[TEXTS[other] for _, other in PAIRS], hyps=[TEXTS[one] for one, _ in PAIRS]
    )[1]
    model = RadGraph(model_type="radgraph", model_cache_dir=str(root), cuda=-1)
    annotations = []
    for text in TEXTS:
        entities = list(model([text])["0"]["entities"].values()) if text else []
        named = [[entity["tokens"], entity["label"]] for entity in entities]
        relations = sorted(
            [place, int(target) - 1, kind]
            for place, entity in enumerate(entities)
            for kind, target in entity["relations"]
        )
        annotations.append(
            {
                "entities": named if len(named) < 100 else [len(named), digest(named)],
                "relations": relations if len(named) < 100 else [len(relations), digest(relations)],
            }
        )
    return {"annotations": annotations, **dict(zip(("simple", "partial", "complete"), levels, strict=True))}


def ratescore(root: Path) -> dict:
    from loguru import logger

    logger.remove()
    from RaTEScore import RaTEScore
    from RaTEScore.score import run_ner

    scorer = RaTEScore(str(root / "rate-ner"), str(root / "biolord"), use_gpu=False)
    scores = []
    for one, other in PAIRS:
        short = len(TEXTS[one]) < 3 or len(TEXTS[other]) < 3  # the package fails on a report without a sentence
        scores.append(None if short else float(scorer.compute_score([TEXTS[one]], [TEXTS[other]])[0]))
    entities = [
        run_ner([text], scorer.idx2label, scorer.tokenizer, scorer.model, scorer.device, 1)[0] if len(text) > 2 else []
        for text in TEXTS
    ]
    return {"scores": scores, "entities": entities}


PACKAGES = {
    "bertscore": (bertscore, "bert-score"),
    "chexbert": (chexbert, "f1chexbert"),
    "radgraph": (radgraph, "radgraph"),
    "ratescore": (ratescore, "RaTEScore"),
}


def main() -> None:
    what, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    if what == "build":
        everything(folder)
        return
    run, package = PACKAGES[what]
    made = run(folder)
    origin = {name: version(name) for name in (package, "torch", "transformers", "tokenizers", "numpy")}
    GOLDENS.mkdir(exist_ok=True)
    golden = {"made_with": origin, "texts": len(TEXTS), "pairs": PAIRS, **made}
    (GOLDENS / f"{what}.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
