"""A training recipe as the library's arguments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from instruct.errors import SpecError, UsageError
from instruct.mixture.plan import RunPlan
from instruct.training.recipe import TrainingRecipe

# Measuring lengths of millions of rows and writing to a slow disk happen on one process while the others wait.
_PATIENCE = timedelta(hours=6)


def world_size() -> int:
    """Processes of this run, as the launcher says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def accumulation(recipe: TrainingRecipe, world: int) -> int:
    """Micro-batches of a process per optimizer step.

    Raises:
        SpecError: the global batch cannot be cut that way.
    """
    plan = recipe.plan
    if plan.global_batch % (plan.micro_batch * world):
        raise SpecError(
            f"plan.global_batch {plan.global_batch} is not a multiple of micro_batch {plan.micro_batch} x {world}"
            f" process{'es' if world > 1 else ''}; change plan.micro_batch or plan.global_batch"
        )
    return plan.global_batch // (plan.micro_batch * world)


def mixed_precision(recipe: TrainingRecipe) -> Literal["no", "bf16"]:
    """What a run computes in where its weights have more bits; the recipe and the machine decide, not the launcher."""
    import torch

    half = torch.cuda.is_available() and torch.cuda.is_bf16_supported() and recipe.model.dtype != "float32"
    return "bf16" if half else "no"


def training_arguments(recipe: TrainingRecipe, steps: int, find_unused: bool = False) -> Any:
    """Arguments of ``transformers.Trainer``.

    Args:
        recipe: the recipe.
        steps: optimizer steps of the run.
        find_unused: whether a batch may leave parts of the adapter without a gradient.

    Raises:
        SpecError: the global batch cannot be cut for this number of processes.
    """
    import torch
    from transformers import TrainingArguments

    optimizer, evaluation = recipe.optimizer, recipe.evaluation
    stops = evaluation is not None and evaluation.early_stop is not None
    precision = mixed_precision(recipe)
    os.environ["ACCELERATE_MIXED_PRECISION"] = precision  # or what `accelerate launch` put there would win
    arguments = TrainingArguments(
        output_dir=str(recipe.out),
        run_name=recipe.name,
        seed=recipe.plan.seed,
        max_steps=steps,
        per_device_train_batch_size=recipe.plan.micro_batch,
        gradient_accumulation_steps=accumulation(recipe, world_size()),
        average_tokens_across_devices=True,
        train_sampling_strategy="sequential",  # the plan is the order
        optim=optimizer.name,
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type=optimizer.schedule,
        warmup_steps=round(optimizer.warmup * steps),
        weight_decay=optimizer.weight_decay,
        adam_beta1=optimizer.betas[0],
        adam_beta2=optimizer.betas[1],
        max_grad_norm=optimizer.max_grad_norm,
        bf16=precision == "bf16",
        **_checkpointing(recipe),
        logging_steps=recipe.log.every,
        logging_first_step=True,
        logging_nan_inf_filter=False,  # would hide them in an average
        report_to=_reports(recipe) or "none",
        disable_tqdm=True,
        log_level="warning",
        eval_strategy="steps" if evaluation is not None and evaluation.every else "no",
        eval_steps=evaluation.every if evaluation is not None else None,
        load_best_model_at_end=stops,
        metric_for_best_model="eval_loss" if stops else None,
        greater_is_better=False if stops else None,
        save_strategy="steps",
        save_steps=recipe.save.every,
        save_total_limit=recipe.save.keep,
        restore_callback_states_from_checkpoint=stops,
        remove_unused_columns=False,
        dataloader_num_workers=recipe.loader.workers,
        dataloader_persistent_workers=recipe.loader.workers > 0,
        dataloader_pin_memory=torch.cuda.is_available(),
        ddp_find_unused_parameters=find_unused,
        ddp_timeout=int(_PATIENCE.total_seconds()),
    )
    arguments.device  # noqa: B018  # counts the GPUs in sight, which the Trainer would spread each batch over
    arguments._n_gpu = min(arguments.n_gpu, 1)
    return arguments


def _checkpointing(recipe: TrainingRecipe) -> dict[str, Any]:
    from dataclasses import fields

    from transformers import TrainingArguments

    if not recipe.gradient_checkpointing:
        return {}
    new = any(field.name == "activation_checkpointing" for field in fields(TrainingArguments))
    name = "activation_checkpointing" if new else "gradient_checkpointing"  # renamed in transformers 5.2x
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}


def _reports(recipe: TrainingRecipe) -> list[str]:
    from importlib.util import find_spec

    chosen = [name for name in ("tensorboard", "wandb") if getattr(recipe.log, name)]
    for name in chosen:
        if find_spec(name) is None and not (name == "tensorboard" and find_spec("tensorboardX")):
            raise UsageError(f"log.{name} needs the package {name}: pip install {name}")
    return chosen


def check_sharding(recipe: TrainingRecipe) -> None:
    """Refuse what FSDP does not take.

    Raises:
        SpecError: gradient checkpointing is set twice under FSDP.
    """
    sharded = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    twice = os.environ.get("FSDP_ACTIVATION_CHECKPOINTING", "").lower() == "true"
    if sharded and twice and recipe.gradient_checkpointing:
        raise SpecError(
            "gradient_checkpointing is set in the recipe and fsdp_activation_checkpointing in accelerate's file;"
            " set gradient_checkpointing=false"
        )


def check_kinds(recipe: TrainingRecipe, plan: RunPlan, images: Sequence[NDArray[np.int16]]) -> None:
    """Refuse what DeepSpeed ZeRO-3 would wait for without end: processes of which only some have an image in a step.

    Args:
        recipe: the recipe.
        plan: the rows in the order they are seen.
        images: per part and row of its shards, the number of images.

    Raises:
        SpecError: the steps of such a run have rows of both kinds.
    """
    stage = os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE")
    sharded = os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true" and stage == "3"
    if not sharded or recipe.plan.text_only_apart:
        return
    kinds = {
        bool(kind)
        for part, counts in enumerate(images)
        for kind in np.unique(counts[plan.row[plan.part == part]] > 0).tolist()
    }
    if len(kinds) > 1:
        raise SpecError(
            "plan.text_only_apart: the run draws rows with and without images, and under DeepSpeed ZeRO-3 a process"
            " without an image would wait for the others' vision tower for ever; set plan.text_only_apart=true"
        )
