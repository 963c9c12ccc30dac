"""The shipped recipes fit the models that they name: their real classes at full size, without weights."""

from __future__ import annotations

from typing import Any

import pytest

from instruct.training.base import decoder_name, linear_layers
from instruct.training.lora import adapter_targets
from instruct.training.loss import keeps_logits
from instruct.training.meter import Operations
from instruct.training.recipe import load_training_recipe

# Recipe: configuration class, whose defaults are those of a published model, and what its vision tower is called.
MODELS = {
    "lora_qwen2_5_vl": ("Qwen2_5_VLConfig", "visual"),
    "lora_qwen3_vl": ("Qwen3VLConfig", "visual"),
    "lora_llava_1_5": ("LlavaConfig", "vision_tower"),
    "lora_smolvlm": ("SmolVLMConfig", "vision_model"),
    "lora_medgemma": ("Gemma3Config", "vision_tower"),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_recipe_fits_the_class_of_its_model(name: str) -> None:
    import torch
    import transformers
    from transformers import AutoModelForImageTextToText

    kind, tower = MODELS[name]
    config: Any = getattr(transformers, kind)()
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config)
    recipe = load_training_recipe(name)
    chosen = adapter_targets(model, recipe.lora)
    layers = [layer for layer, _ in linear_layers(model)]
    inside = [layer for layer in chosen if layer.startswith(decoder_name(model) + ".")]
    text = config.get_text_config()
    assert len(inside) == 7 * text.num_hidden_layers  # query, key, value, output, gate, up, down
    seen = [layer for layer in chosen if tower in layer.split(".")]
    between = set(chosen) - set(inside) - set(seen)
    match recipe.lora.preset:
        case "language":
            assert not seen and not between
        case "language+projector":
            assert not seen and between
        case "all-linear":
            assert seen and between and set(layers) - set(chosen) <= {"lm_head"}
    assert "lm_head" not in chosen
    assert keeps_logits(model)  # logits at supervised positions only
    assert Operations(model, recipe.gradient_checkpointing).vision(1) > 0  # the MFU can be counted
