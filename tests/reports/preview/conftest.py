"""A small build with boxes, masks and sixteen-bit images; its preview; and a headless browser where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from instruct.api import build_dataset
from instruct.reports.preview.document import write_preview
from instruct.specs.recipe import Images, Recipe
from instruct.synth import write
from tests.reports.preview.chromium import NAMES, Chromium, find_chromium

SOURCES = {"siim": 24, "vindr_cxr": 24, "rexgradient": 40}


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root: SIIM and VinDr-CXR (DICOM), REX-Gradient (16-bit PNG)."""
    root = tmp_path_factory.mktemp("preview-data")
    for source, studies in SOURCES.items():
        write(source, root / source, studies=studies)
    return root


@pytest.fixture(scope="package")
def built(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their build."""
    out = tmp_path_factory.mktemp("preview") / "out"
    # Several shards to a split, so that places in it have to be found.
    recipe = Recipe(name="preview", sources={source: {} for source in SOURCES}, shard_rows=10)
    build_dataset(recipe, out, data_root=data)
    return out


@pytest.fixture(scope="package")
def packed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """REX-Gradient alone, its images in an images table."""
    out = tmp_path_factory.mktemp("preview") / "packed"
    images = Images(store="pack", missing="drop", size=96)
    build_dataset(Recipe(name="packed", sources={"rexgradient": {}}, images=images), out, data_root=data)
    return out


@pytest.fixture(scope="package")
def page(built: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a preview that holds every example of the build."""
    file = tmp_path_factory.mktemp("preview") / "preview.html"
    write_preview(built, file, size=10_000)
    return file.as_uri()


@pytest.fixture(scope="package")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    """A running browser."""
    program = find_chromium()
    if program is None:
        pytest.skip(f"no Chromium here (looked for {', '.join(NAMES)}); `make chromium` installs it where it can")
    browser = Chromium(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()
