"""Synthetic corpora in the published layouts of their sources, with known contents.

Everything in them is invented here: ids, words and pictures. The same arguments always give the same bytes.
"""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from instruct.errors import DataError, UsageError

if TYPE_CHECKING:
    from instruct.synth.planted import Counts, Planted, SplitFacts

__all__ = ["SOURCES", "Counts", "Planted", "SplitFacts", "write"]

SOURCES: dict[str, str] = {
    "chestxray14": "instruct.synth.chestxray14",
    "chexpert": "instruct.synth.chexpert",
    "brax": "instruct.synth.brax",
    "padchest": "instruct.synth.padchest",
    "rsna": "instruct.synth.rsna",
    "siim": "instruct.synth.siim",
    "openi": "instruct.synth.openi",
    "mimic_cxr": "instruct.synth.mimic_cxr",
    "cxr_lt": "instruct.synth.cxr_lt",
    "ms_cxr": "instruct.synth.ms_cxr",
    "ms_cxr_t": "instruct.synth.ms_cxr_t",
    "mimic_cxr_vqa": "instruct.synth.mimic_cxr_vqa",
    "mimic_diff_vqa": "instruct.synth.mimic_diff_vqa",
    "mimic_nle": "instruct.synth.mimic_nle",
    "rexgradient": "instruct.synth.rexgradient",
    "rad_restruct": "instruct.synth.rad_restruct",
    "radqa": "instruct.synth.radqa",
    "rexval": "instruct.synth.rexval",
    "radnli": "instruct.synth.radnli",
    "radgraph": "instruct.synth.radgraph",
    "covidx_cxr3": "instruct.synth.covidx_cxr3",
    "vindr_cxr": "instruct.synth.vindr_cxr",
    "vindr_pcxr": "instruct.synth.vindr_pcxr",
    "object_cxr": "instruct.synth.object_cxr",
}
"""Source name → module that writes it (its function ``write(root, *, studies, seed, images)``)."""


def __getattr__(name: str) -> object:
    if name in ("Counts", "Planted", "SplitFacts"):
        return getattr(import_module("instruct.synth.planted"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def write(source: str, root: Path, *, studies: int, seed: int = 0, images: bool = True) -> Planted:
    """Write a synthetic corpus in the published layout of a source.

    Args:
        source: a name of :data:`SOURCES`.
        root: folder to write into, created if missing; must not hold files of that source yet.
        studies: number of studies, 20 or more.
        seed: any integer; another seed gives another corpus of the same counts.
        images: also write the image files. The metadata name them either way.

    Returns:
        What was planted: the count-table rows, the traps and facts per split.

    Raises:
        UsageError: unknown source, too few studies, or files of the source are there already.
        DataError: the disk is full, or the folder cannot be written; nothing is left in a folder that was empty.
    """
    if source not in SOURCES:
        raise UsageError(f"unknown synthetic source {source!r}: expected one of {', '.join(sorted(SOURCES))}")
    root = Path(root)
    new = not root.is_dir()
    ours = new or not any(root.iterdir())
    try:
        planted: Planted = import_module(SOURCES[source]).write(root, studies=studies, seed=seed, images=images)
    except BaseException as error:
        if ours and root.is_dir():  # half a corpus would be in the way of the next try
            for path in [root] if new else root.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        if isinstance(error, OSError):
            raise DataError(f"{root}: the corpus cannot be written: {error.strerror or error}") from None
        raise
    return planted
