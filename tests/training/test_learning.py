"""The picture reaches the loss: a tiny model reads the heart's size off unseen pictures, unless taught nonsense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from instruct.mixture.index import build_index
from instruct.testing.tiny import build_tiny
from instruct.training.generate import Request, generate
from instruct.training.recipe import TrainingRecipe
from instruct.training.run import train
from tests.training.pictures import EFFUSION, HEART, build_pictures, studies

pytestmark = pytest.mark.slow


def learnt(root: Path, *, shuffled: bool) -> dict[str, float]:
    """Shares of unseen studies of which a trained model names heart and effusion right."""
    dataset = build_pictures(root, shuffled=shuffled)
    model = build_tiny("qwen2_vl", root / "model", [f"{study.findings} Findings?" for study in studies(6)])
    recipe = TrainingRecipe.model_validate(
        {
            "name": "learning",
            "out": root / "run",
            "mixture": {"name": "pictures", "data": [dataset], "use": [{"configs": "*"}]},
            "model": {"id": str(model)},
            "lora": {"preset": "all-linear", "dropout": 0},
            # Six reports of few lengths: sorted by length, a step would have one report eight times.
            "plan": {"max_length": 200, "global_batch": 8, "micro_batch": 8, "steps": 80, "pool": 1},
            "optimizer": {"learning_rate": 3e-3, "schedule": "cosine", "warmup": 0},
            "evaluation": None,
        }
    )
    adapter = train(recipe).adapter
    request = Request(recipe.model, adapter, max_new_tokens=32, batch_size=16)
    done = generate(request, build_index(recipe.mixture_recipe(), "test"), root / "predictions")
    assert done is not None and done.made == 48
    lines = [json.loads(line) for line in done.file.read_text("utf-8").splitlines()]
    return {
        name: sum(any(text in line["prediction"] and text in line["reference"] for text in texts) for line in lines)
        / 48
        for name, texts in (("heart", HEART), ("effusion", EFFUSION))
    }


def test_a_model_that_saw_the_pictures_reads_them(tmp_path: Path) -> None:
    right = learnt(tmp_path, shuffled=False)
    assert right["heart"] >= 0.9, right
    assert right["effusion"] >= 0.7, right  # of three answers


def test_a_model_that_saw_shuffled_pictures_guesses(tmp_path: Path) -> None:
    right = learnt(tmp_path, shuffled=True)
    assert right["heart"] <= 0.7, right  # of two answers
    assert right["effusion"] <= 0.55, right
