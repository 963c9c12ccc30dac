"""Tiny models: real classes, small, the same bytes every time."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from instruct.testing.tiny import FAMILIES, build_tiny
from instruct.training.collate import Collator, PromptCollator

CLASSES = {
    "llava": "LlavaForConditionalGeneration",
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "idefics3": "Idefics3ForConditionalGeneration",
    "gemma3": "Gemma3ForConditionalGeneration",
}
TEXTS = ["The heart is large.", "No pleural effusion.", "Lungs are clear.\n\nThe heart is normal."] * 5


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_is_its_family_and_small(family, model_of, tiny):
    model = model_of(family)
    assert type(model).__name__ == CLASSES[family]
    assert model.config.model_type == family
    assert sum(parameter.numel() for parameter in model.parameters()) < 1_000_000
    assert sum(file.stat().st_size for file in tiny(family).iterdir()) < 5_000_000


@pytest.mark.parametrize("family", FAMILIES)
def test_the_image_reaches_the_loss(family, model_of, processor_of, demo_rows):
    shown = [row for row in demo_rows if len(row["images"]) == 1][:2]
    batch = Collator(processor_of(family))(shown)
    batch.pop("facts")
    with torch.no_grad():
        seen = model_of(family)(**batch).loss
        other = model_of(family)(**{**batch, "pixel_values": batch["pixel_values"].flip(-1) * 0.5}).loss
    assert seen.isfinite() and abs(seen - other) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_it_generates(family, model_of, processor_of, demo_rows):
    batch = PromptCollator(processor_of(family))(demo_rows[:2])
    batch.pop("facts")
    out = model_of(family).generate(**batch, max_new_tokens=3, min_new_tokens=3, do_sample=False)
    assert out.shape == (2, batch["input_ids"].shape[1] + 3)


def test_the_same_arguments_give_the_same_bytes_in_another_process(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    torch.manual_seed(5)
    before = torch.get_rng_state()
    build_tiny("idefics3", here, TEXTS, seed=3)
    assert torch.equal(before, torch.get_rng_state()), "building a model moved the global random state"
    code = (
        "from pathlib import Path; from instruct.testing.tiny import build_tiny;"
        f"build_tiny('idefics3', Path({str(there)!r}), {TEXTS!r}, seed=3)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": "7"})
    assert {file.name: file.read_bytes() for file in here.iterdir()} == {
        file.name: file.read_bytes() for file in there.iterdir()
    }


def test_the_seed_changes_the_weights_only(tmp_path):
    one, two = (build_tiny("llava", tmp_path / str(seed), TEXTS, seed=seed) for seed in (0, 1))
    changed = {file.name for file in one.iterdir() if file.read_bytes() != (two / file.name).read_bytes()}
    assert changed == {"model.safetensors"}
