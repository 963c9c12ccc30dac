"""Builds to export: images packed, embedded and by reference, and one with boxes and polygons."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from instruct import synth
from instruct.api import build_dataset, load_recipe
from instruct.specs.recipe import Recipe
from tests.build.helpers import call
from tests.conftest import Corpora

OPENI = ("--permission", "openi=a letter")
REXGRADIENT = ("--permission", "rexgradient=a letter")
ALLOWED = (*OPENI, *REXGRADIENT)
Export = Callable[..., Path]


def build(corpora: Corpora, out: Path, *overrides: str) -> Path:
    build_dataset(load_recipe("demo", ["shard_rows=40", *overrides]), out, data_root=corpora.root)
    return out


@pytest.fixture(scope="session")
def packed(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenI (8-bit PNG) and REX-Gradient (16-bit PNG), images packed. Tests must not change it."""
    return build(corpora, tmp_path_factory.mktemp("export") / "packed", "images.store=pack", "images.size=64")


@pytest.fixture(scope="session")
def embedded(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with images in the rows."""
    return build(corpora, tmp_path_factory.mktemp("export") / "embedded", "images.store=embed", "images.size=64")


@pytest.fixture(scope="session")
def reference(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with images by path."""
    return build(corpora, tmp_path_factory.mktemp("export") / "reference")


@pytest.fixture(scope="session")
def grounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Boxes (Object-CXR, half of the images without any) and polygons or boxes (SIIM)."""
    root = tmp_path_factory.mktemp("grounded")
    for source in ("object_cxr", "siim"):
        synth.write(source, root / "data" / source, studies=40)
    recipe = {
        "name": "grounded",
        "sources": {"object_cxr": {}, "siim": {}},
        "images": {"store": "pack", "missing": "drop", "size": 32},
    }
    build_dataset(Recipe.model_validate(recipe), root / "out", data_root=root / "data")
    return root / "out"


@pytest.fixture
def export(tmp_path: Path) -> Export:
    """Export a build into a folder, with every permission it needs."""

    def run(
        build: Path, to: str, *more: str | Path, name: str = "exported", allowed: tuple[str, ...] = ALLOWED
    ) -> Path:
        call("export", build, "--to", to, "--out", tmp_path / name, *allowed, *more)
        return tmp_path / name

    return run


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]


def table(build: Path, config: str, split: str) -> list[dict[str, Any]]:
    """The build's own examples, read with pyarrow alone."""
    found: list[dict[str, Any]] = []
    for file in sorted((build / config / split / "arrow").glob("data-*.arrow")):
        found += pa.ipc.open_stream(file.read_bytes()).read_all().to_pylist()
    return found
