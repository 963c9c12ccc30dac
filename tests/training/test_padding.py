"""The plan of the demo mixture with real lengths: hardly any padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from instruct.mixture.index import MixtureIndex, build_index
from instruct.mixture.plan import padding_waste, plan_run
from instruct.mixture.recipe import load_mixture_recipe
from instruct.mixture.rows import open_rows
from instruct.testing.tiny import build_tiny
from instruct.training.lengths import measure_part
from instruct.training.processor import load_processor
from tests.build.helpers import call
from tests.training.conftest import text_of


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> MixtureIndex:
    """What ``cxr-instruct demo`` builds, under the shipped mixture."""
    out = tmp_path_factory.mktemp("demo")
    call("demo", "--out", out)
    return build_index(load_mixture_recipe("mixture_demo", [f"data=[{out / 'dataset'}]"]))


@pytest.fixture(scope="module", params=["llava", "qwen2_vl", "idefics3"])
def lengths(request: Any, demo: MixtureIndex, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Tokens of every row, image tokens included, for a model of the family."""
    opened = [open_rows(part) for part in demo.parts]
    texts = [text for rows in opened for number in range(len(rows)) for text in text_of(rows[number])]
    model: Path = build_tiny(request.param, tmp_path_factory.mktemp("model") / request.param, texts)
    processor = load_processor(model)
    measured = [measure_part(rows, processor) for rows in opened]
    assert not any(part.faults for part in measured)
    return [part.length for part in measured]


@pytest.mark.parametrize(("global_batch", "most"), [(8, 0.035), (32, 0.02), (64, 0.02)])
def test_padding_of_the_plan_and_of_a_random_order(
    global_batch: int, most: float, demo: MixtureIndex, lengths: list[Any]
) -> None:
    plan = plan_run(demo, lengths, global_batch=global_batch, epochs=1)
    assert len(plan) >= len(demo) > 500 and not plan.excluded
    assert plan.padding_waste(8) <= most
    assert padding_waste(np.random.default_rng(0).permutation(plan.length), 8) >= 0.25
