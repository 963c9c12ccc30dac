"""A built dataset of eight "[Task] [Dataset]", and mixtures over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from instruct.api import build_dataset, load_recipe
from instruct.mixture.recipe import MixtureRecipe, load_mixture_recipe
from tests.conftest import Corpora


def build(corpora: Corpora, out: Path, *overrides: str) -> Path:
    """Build the demo recipe."""
    build_dataset(load_recipe("demo", overrides), out, data_root=corpora.root)
    return out


@pytest.fixture(scope="session")
def built(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenI (40 reports) and REX-Gradient (120 studies), several shards each. Tests must not change it."""
    return build(corpora, tmp_path_factory.mktemp("mixture") / "out", "shard_rows=40")


@pytest.fixture(scope="session")
def relative(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with relative image paths."""
    return build(corpora, tmp_path_factory.mktemp("mixture") / "relative", "images.paths=relative")


@pytest.fixture(scope="session")
def packed(corpora: Corpora, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with images packed."""
    return build(corpora, tmp_path_factory.mktemp("mixture") / "packed", "images.store=pack", "images.size=64")


@pytest.fixture
def mix(tmp_path: Path, built: Path) -> Callable[..., MixtureRecipe]:
    """A mixture recipe from its text below ``name`` and ``data``."""

    def write(text: str, *overrides: str, name: str = "mine", data: Path | None = built) -> MixtureRecipe:
        file = tmp_path / f"{name}.yaml"
        head = f"name: {name}\n" + (f"data: [{data}]\n" if data is not None else "")
        file.write_text(head + text, "utf-8")
        return load_mixture_recipe(file, overrides)

    return write
