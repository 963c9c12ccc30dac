"""The adapter: which layers get one, and a saved one put back in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

from instruct.errors import DataError, SpecError
from instruct.training.base import decoder_name, linear_layers
from instruct.training.recipe import Lora, ModelChoice

# Between vision tower and language model: LLaVA and Gemma 3, Qwen-VL, Idefics3 and SmolVLM, others.
_PROJECTORS = ("multi_modal_projector", "merger", "connector", "modality_projection", "aligner", "mlp1")


def adapter_targets(model: Any, lora: Lora) -> list[str]:
    """Full names of the layers that get an adapter.

    Raises:
        SpecError: none of the model's linear layers is meant.
    """
    head = model.get_output_embeddings()
    layers = [name for name, module in linear_layers(model) if module is not head]
    if lora.targets is not None:
        chosen = [
            name for name in layers if any(name == target or name.endswith("." + target) for target in lora.targets)
        ]
        if not chosen:
            kinds = sorted({name.rsplit(".", 1)[-1] for name in layers})
            raise SpecError(f"lora.targets: none of {lora.targets} is a linear layer of the model; it has {kinds}")
        return chosen
    if lora.preset == "all-linear":
        return layers
    inside = decoder_name(model) + "."
    language = [name for name in layers if name.startswith(inside)]
    if lora.preset == "language":
        return language
    projector = [
        name for name in layers if not name.startswith(inside) and any(part in _PROJECTORS for part in name.split("."))
    ]
    if not projector:
        raise SpecError(
            "lora.preset: this model has no linear layer between vision tower and language model (Gemma 3 has a bare"
            " matrix there); use language or all-linear, or name layers in lora.targets"
        )
    return language + projector


def attach_adapter(model: Any, choice: ModelChoice, lora: Lora, checkpointing: bool) -> Any:
    """The model with a fresh adapter; only the adapter can be trained.

    The adapter's file names the base as the recipe does, not the place it was loaded from. All else keeps its type:
    peft's preparation of quantised models would make float32 of whatever is not quantised.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=adapter_targets(model, lora),
        task_type="CAUSAL_LM",
    )
    wrapped = get_peft_model(model, config)
    adapter = wrapped.peft_config["default"]
    adapter.base_model_name_or_path, adapter.revision = choice.id, choice.revision
    if checkpointing:
        wrapped.enable_input_require_grads()  # without it no gradient passes the frozen embedding
    return wrapped


def load_adapter(model: Any, adapter: Path) -> Any:
    """The model with a saved adapter, every weight of which has found its place.

    Raises:
        DataError: the adapter is of another kind of model; the library alone would leave out what does not fit.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    base = json.loads((adapter / "adapter_config.json").read_text("utf-8")).get("base_model_name_or_path")
    with safe_open(adapter / "adapter_model.safetensors", "pt") as weights:
        saved = set(weights.keys())
    try:
        with catch_warnings():
            simplefilter("ignore", UserWarning)  # a line as long as the names of all layers
            wrapped = PeftModel.from_pretrained(model, str(adapter))
        fits = saved == set(get_peft_model_state_dict(wrapped))
        why = "its layers are not this model's"
    except (RuntimeError, ValueError, KeyError) as error:
        fits, why = False, str(error).strip().splitlines()[0]
    if not fits:
        raise DataError(
            f"{adapter}: does not fit {model.config.name_or_path or 'the model'}: {why}; it was trained for {base}"
        )
    return wrapped


def may_be_unused(lora: Lora, text_only: bool) -> bool:
    """Whether a batch may leave some of the adapter without a gradient, which DDP has to look for.

    Args:
        lora: which layers have an adapter.
        text_only: whether there are rows without images. With images in all, those between vision tower and language
            model are used, but not all of the tower: LLaVA takes the output of its last layer but one.
    """
    if lora.targets is not None or lora.preset == "all-linear":
        return True
    return text_only and lora.preset == "language+projector"
