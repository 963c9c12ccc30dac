"""QLoRA: frozen weights of the language model in four bits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from instruct.training.export import merge
from instruct.training.run import train
from tests.training.runs import losses, recipe

pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install 'cxr-instruct[quant]'")


def test_what_is_not_quantised_keeps_its_type(tiny: Callable[..., Path]) -> None:
    """The library's preparation would make float32 of embedding, vision tower and output layer: twice the memory."""
    import torch

    from instruct.training.base import load_base
    from instruct.training.lora import attach_adapter
    from instruct.training.recipe import Lora, ModelChoice, Quant

    choice = ModelChoice(id=str(tiny("llava")), dtype="bfloat16")
    model = load_base(choice, Quant())
    before = {name: parameter.dtype for name, parameter in model.named_parameters()}
    wrapped = attach_adapter(model, choice, Lora(), checkpointing=True)
    after = {name: parameter for name, parameter in wrapped.named_parameters() if "lora_" not in name}
    assert sorted(map(str, before.values())) == sorted(str(parameter.dtype) for parameter in after.values())
    assert {str(kind) for kind in before.values()} == {"torch.bfloat16", "torch.uint8"}
    assert not any(parameter.requires_grad for parameter in after.values())
    adapters = [parameter for name, parameter in wrapped.named_parameters() if "lora_" in name]
    assert all(parameter.requires_grad and parameter.dtype == torch.float32 for parameter in adapters)


def test_an_adapter_on_four_bits(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    from transformers import AutoModelForImageTextToText

    from instruct.training.base import load_base
    from instruct.training.recipe import ModelChoice, Quant

    model = load_base(ModelChoice(id=str(tiny("llava"))), Quant())
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    assert kinds["model.language_model.layers.0.self_attn.q_proj"] == "Linear4bit"
    outside = [name for name, kind in kinds.items() if kind == "Linear4bit" and ".language_model." not in name]
    assert not outside and kinds["lm_head"] == "Linear"
    made = recipe(
        tmp_path / "run",
        demo_dataset,
        tiny("llava"),
        quant={"bits": 4},
        gradient_checkpointing=True,
        plan={"steps": 8},
        evaluation=None,
    )
    train(made)
    trace = losses(tmp_path / "run")
    assert trace[8] < trace[1] - 0.3
    assert json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))["facts"]["quant"] == {
        "bits": 4,
        "double": True,
    }
    merge(tmp_path / "run", tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    assert not getattr(merged, "is_quantized", False)
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text("utf-8"))
