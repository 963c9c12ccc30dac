"""What a run writes down before its first step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from instruct.build.files import read_json, write_json, write_text
from instruct.mixture.report import repeat_warnings
from instruct.training import checkpoints
from instruct.training.log import FILE as LOG
from instruct.training.log import write_event
from instruct.training.model_card import drawn_sources
from instruct.training.prepare import Prepared
from instruct.training.processor import processor_backend
from instruct.training.recipe import TrainingRecipe

_LIBRARIES = ("cxr-instruct", "torch", "transformers", "peft", "accelerate", "bitsandbytes", "pillow", "torchvision")


def write_record(
    recipe: TrainingRecipe, data: Prepared, processor: Any, model: Any, state: Any, checkpoint: Path | None
) -> None:
    """Write recipe, plan and ``run.json`` of a run, and the first line of its log; of a resumed run, one more start.

    Args:
        recipe: the recipe.
        data: what it trains on.
        processor: the model's.
        model: with its adapter.
        state: accelerate's, of this process.
        checkpoint: what is resumed from.
    """
    out = recipe.out
    if checkpoint is None:
        (out / LOG).unlink(missing_ok=True)
    session = {
        "resumed_from": checkpoint.name if checkpoint else None,
        "processes": state.num_processes,
        "distributed": str(state.distributed_type.value),
        "device": _device_name(state.device),
        "processor": processor_backend(processor),
        "libraries": {name: found for name in _LIBRARIES if (found := _version(name))},
    }
    before = (read_json(out / "run.json") or {}).get("sessions", []) if checkpoint else []
    trained, everything = model.get_nb_trainable_parameters()
    write_json(
        out / "run.json",
        {
            "facts": data.facts,
            "sessions": [*before, session],
            "trained_parameters": trained,
            "parameters": everything,
            "adapter_layers": sorted(model.targeted_module_names),
            "sources": drawn_sources(data.index),
        },
    )
    write_text(out / "recipe.yaml", yaml.safe_dump(_plain(recipe), sort_keys=False, allow_unicode=True))
    data.plan.save(out, data.index)
    step = checkpoints.step_of(checkpoint) if checkpoint else 0
    write_event(out, "start", step=step, steps=data.plan.steps, **session)


def say_plan(recipe: TrainingRecipe, data: Prepared, model: Any, say: Callable[[str], None]) -> None:
    """Say what the run will see, what was left out, and how much of the model is trained."""
    plan, limits = data.plan, recipe.plan
    report = plan.report(data.measures.images)
    for line in report:
        if line["draws"]:
            say(
                f"{line['label']}: {line['draws']:,} draws of {line['rows'] - line['excluded']:,} rows"
                f" (x {line['repeats']:.2f}), {line['tokens']:,} tokens, {line['images']:,} images"
            )
    for warning in repeat_warnings(report, recipe.mixture_recipe().max_epochs_warn):
        say(f"warning: {warning}")
    for reason, number in Counter(reason for _, _, reason in plan.excluded).items():
        say(f"{number:,} rows left out: {reason} (plan.excluded.jsonl)")
    trained, everything = model.get_nb_trainable_parameters()
    waste = 100 * plan.padding_waste(limits.micro_batch)
    say(
        f"{plan.steps:,} steps of {limits.global_batch} examples; padding {waste:.1f} %;"
        f" {trained:,} of {everything:,} parameters are trained, in {len(model.targeted_module_names)} layers"
    )


def _plain(recipe: TrainingRecipe) -> dict[str, Any]:
    """The recipe with all its values; of the mixture, those that say something, wherever it was read from."""
    mixture = recipe.mixture_recipe().standalone()
    return recipe.model_dump(mode="json") | {"mixture": mixture.model_dump(mode="json", exclude_defaults=True)}


def _device_name(device: Any) -> str:
    import torch

    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else str(device.type)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
