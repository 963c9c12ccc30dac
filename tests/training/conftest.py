"""What the tests of training share: a small built dataset, and tiny models, each made once per session."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from instruct.api import build_dataset
from instruct.testing.tiny import Family, build_tiny
from instruct.training.processor import load_processor
from tests.build.helpers import rows as read_rows
from tests.conftest import Corpora
from tests.training.runs import recipe

# Two threads on a busy machine spin on each other and take many times as long as one.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def text_of(row: dict[str, Any]) -> list[str]:
    """All texts of a row."""
    return [part["text"] for turn in row["messages"] for part in turn["content"] if part["type"] == "text"]


@pytest.fixture(scope="session")
def demo_dataset(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo recipe built of the made-up corpora. Tests must not change it: copy it first."""
    out = tmp_path_factory.mktemp("demo") / "dataset"
    build_dataset("demo", out, data_root=corpora.root)
    return out


@pytest.fixture(scope="session")
def demo_rows(demo_dataset: Path) -> list[dict[str, Any]]:
    """Its training rows: with no image, one and two, of several tasks."""
    found = read_rows(demo_dataset, split="train")
    assert {len(row["images"]) for row in found} >= {0, 1, 2}
    # Dealt out, so that any few neighbours are of several tasks.
    return [row for start in range(7) for row in found[start::7]]


@pytest.fixture(scope="session")
def tiny(demo_rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``tiny(family, generation_marks=True, pad_token=True)``: folder of a tiny model; do not write into it."""
    texts = [text for row in demo_rows for text in text_of(row)]
    root = tmp_path_factory.mktemp("tiny")

    @cache
    def built(family: Family, generation_marks: bool, pad_token: bool) -> Path:
        name = f"{family}{'' if generation_marks else '-unmarked'}{'' if pad_token else '-padless'}"
        return build_tiny(family, root / name, texts, generation_marks=generation_marks, pad_token=pad_token)

    def folder(family: Family, generation_marks: bool = True, pad_token: bool = True) -> Path:
        return built(family, generation_marks, pad_token)  # once, whether a default is named or not

    return folder


@pytest.fixture(scope="session")
def processor_of(tiny: Callable[..., Path]) -> Callable[..., Any]:
    """``processor_of(family, …)``: the processor of a tiny model; tests that change it load their own."""

    @cache
    def load(family: Family, generation_marks: bool = True, pad_token: bool = True) -> Any:
        return load_processor(tiny(family, generation_marks, pad_token))

    return load


@pytest.fixture(scope="session")
def model_of(tiny: Callable[..., Path]) -> Callable[[Family], Any]:
    """``model_of(family)``: the tiny model itself, in evaluation mode; leave its weights as they are."""
    from transformers import AutoModelForImageTextToText

    @cache
    def load(family: Family) -> Any:
        return AutoModelForImageTextToText.from_pretrained(tiny(family)).eval()

    return load


@pytest.fixture(scope="session")
def tiny_run(demo_dataset: Path, tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 8 steps, with checkpoints 4 and 8; with dropout. Tests copy it."""
    from instruct.training.run import train

    out = tmp_path_factory.mktemp("run") / "run"
    train(recipe(out, demo_dataset, tiny("llava")))
    return out
