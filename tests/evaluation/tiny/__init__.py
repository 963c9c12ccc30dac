"""Tiny checkpoints in the released layouts, filled with random numbers that depend on the tensor's name alone.

Made at test time (and for ``make_goldens.py``, which hands them to the original packages); nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

from .archive import pack, radgraph
from .encoders import bert, biolord, chexbert, llama, roberta
from .tagger import rate_ner
from .tensors import digest
from .texts import LONG, PAIRS, TEXTS, WORDS

__all__ = [
    "LONG",
    "PAIRS",
    "TEXTS",
    "WORDS",
    "bert",
    "biolord",
    "chexbert",
    "digest",
    "everything",
    "llama",
    "pack",
    "radgraph",
    "rate_ner",
    "roberta",
]


def everything(root: Path) -> dict[str, Path]:
    """All of them, by the name of the weights."""
    folders = {
        name: root / name
        for name in (
            "distilroberta-base",
            "chexbert",
            "bert-base-uncased",
            "radgraph",
            "radgraph-encoder",
            "rate-ner",
            "biolord",
        )
    }
    roberta(folders["distilroberta-base"])
    chexbert(folders["chexbert"], folders["bert-base-uncased"])
    radgraph(folders["radgraph"], folders["radgraph-encoder"])
    rate_ner(folders["rate-ner"])
    biolord(folders["biolord"])
    return folders
