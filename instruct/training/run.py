"""A training run: from a recipe to a folder with the adapter and the record of how it was made."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import yaml

from instruct.build.files import locked, read_json, write_json, write_text
from instruct.errors import DataError
from instruct.mixture.rows import open_rows
from instruct.training import checkpoints
from instruct.training.base import load_base, model_processor
from instruct.training.log import FILE as LOG
from instruct.training.log import write_event
from instruct.training.lora import attach_adapter, trains_vision
from instruct.training.meter import Meter
from instruct.training.model_card import drawn_sources, write_card
from instruct.training.plot import plot_loss
from instruct.training.prepare import Prepared, prepare
from instruct.training.processor import align_pad_token, processor_backend
from instruct.training.recipe import TrainingRecipe
from instruct.training.settings import accumulation, check_sharding, training_arguments, world_size

if TYPE_CHECKING:
    from instruct.training.trainer import LoraTrainer

ADAPTER = "adapter"
_LIBRARIES = ("cxr-instruct", "torch", "transformers", "peft", "accelerate", "bitsandbytes", "pillow", "torchvision")


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes:
        out: folder of the run.
        adapter: folder of the adapter.
        steps: optimizer steps behind it.
        loss: mean training loss per supervised token over the steps of this call.
        evaluation: evaluation loss of the adapter: ``loss``, and ``parts`` by '[Task] [Dataset]'; None without one.
    """

    out: Path
    adapter: Path
    steps: int
    loss: float
    evaluation: dict[str, Any] | None


def train(recipe: TrainingRecipe, resume: str | None = None, *, say: Callable[[str], None] = click.echo) -> Result:
    """Train an adapter; under ``accelerate launch`` all processes call this together.

    Args:
        recipe: what to train, on what, how.
        resume: ``auto`` continues from the newest complete checkpoint of the run's folder, if there is one; or a
            checkpoint's folder; None starts a new run.
        say: gets lines for people, on the main process.

    Raises:
        UsageError: the folder holds another run and `resume` is None, or is being written to.
        SpecError: the recipe does not fit the model or the number of processes.
        DataError: the model or the data cannot be read, nothing is left to train on, the run to resume is another one,
            or the loss is not a number.
    """
    from accelerate import PartialState
    from transformers import set_seed

    check_sharding(recipe)
    accumulation(recipe, world_size())
    # Starts the processes' group, with its patience. Kept until the model is loaded: ZeRO-3 reads it there.
    early = training_arguments(recipe, steps=1)
    early.device  # noqa: B018
    state = PartialState()
    quiet: Callable[[str], None] = say if state.is_main_process else lambda line: None
    with ExitStack() as stack:
        if state.is_main_process:
            stack.enter_context(locked(recipe.out / ".lock" / "run", "training"))
        checkpoint, lines = checkpoints.resume_from(recipe.out, resume)
        for line in lines:
            quiet(line)
        processor = model_processor(recipe.model)
        with state.main_process_first():  # the others read what it measured
            data = prepare(recipe, processor, workers=_workers(state), say=quiet)
        _same_everywhere(data, state)
        if checkpoint is not None:
            checkpoints.check_same_run(recipe.out, data.facts)
        set_seed(recipe.plan.seed)  # the adapter starts from random numbers
        model = load_base(recipe.model, recipe.quant, state.device)
        align_pad_token(model, processor)
        model = attach_adapter(model, recipe.model, recipe.lora, recipe.quant, recipe.gradient_checkpointing)
        if state.is_main_process:
            _write_record(recipe, data, processor, model, state, checkpoint)
            _say_plan(recipe, data, model, quiet)
        trainer = _trainer(recipe, data, processor, model)
        outcome = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        evaluation = trainer.final_evaluation()
        trainer.save_model(str(recipe.out / ADAPTER))
        state.wait_for_everyone()
        result = Result(recipe.out, recipe.out / ADAPTER, outcome.global_step, outcome.training_loss, evaluation)
        if state.is_main_process:
            _finish(recipe, result, quiet)
        state.wait_for_everyone()
    return result


def _workers(state: Any) -> int:
    """Processes that measure; the other processes of this machine wait meanwhile, so they may be all its cores."""
    return max(len(os.sched_getaffinity(0)), 1) if hasattr(os, "sched_getaffinity") else 1


def _same_everywhere(data: Prepared, state: Any) -> None:
    from accelerate.utils import gather_object

    digests = gather_object([data.plan.digest])
    if len(set(digests)) > 1:
        raise DataError(
            f"the processes planned different runs ({', '.join(digest[:12] for digest in digests)}): all nodes need the"
            " same recipe, dataset and version of this package"
        )


def _trainer(recipe: TrainingRecipe, data: Prepared, processor: Any, model: Any) -> LoraTrainer:
    from transformers import EarlyStoppingCallback, PrinterCallback

    from instruct.training.collate import Collator
    from instruct.training.order import PlannedRows
    from instruct.training.trainer import LoraTrainer
    from instruct.training.validation import Validation

    collator = Collator(processor, max_length=recipe.plan.max_length, on_bad_image=recipe.loader.on_bad_image)
    validation = None
    if recipe.evaluation is not None and data.validation is not None:
        index, measures = data.validation
        validation = Validation(
            index,
            measures.length,
            collator,
            batch_size=recipe.evaluation.batch_size,
            max_length=recipe.plan.max_length,
            workers=recipe.loader.workers,
        )
    rows = PlannedRows(data.plan, [open_rows(part) for part in data.index.parts])
    trainer = LoraTrainer(
        run=recipe.out,
        validation=validation,
        meter=Meter(model, recipe.gradient_checkpointing),
        model=model,
        args=training_arguments(recipe, data.plan.steps, trains_vision(recipe.lora) and data.draws_text_only),
        train_dataset=rows,
        eval_dataset=rows,  # asked for, and not used: `evaluate` has rows of its own
        data_collator=collator,
    )
    trainer.remove_callback(PrinterCallback)
    if recipe.evaluation is not None and recipe.evaluation.early_stop is not None:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=recipe.evaluation.early_stop))
    if recipe.generation is not None:
        from instruct.training.hook import GenerationHook

        trainer.add_callback(GenerationHook(recipe, processor, recipe.out))
    return trainer


def _write_record(
    recipe: TrainingRecipe, data: Prepared, processor: Any, model: Any, state: Any, checkpoint: Path | None
) -> None:
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
    data.plan.save(out)
    step = checkpoints.step_of(checkpoint) if checkpoint else 0
    write_event(out, "start", step=step, steps=data.plan.steps, **session)


def _say_plan(recipe: TrainingRecipe, data: Prepared, model: Any, say: Callable[[str], None]) -> None:
    plan, limits = data.plan, recipe.plan
    for line in plan.report([images.astype(np.int32) for images in data.measures.images]):
        if line["draws"]:
            say(
                f"{line['label']}: {line['draws']:,} draws of {line['rows'] - line['excluded']:,} rows"
                f" (x {line['repeats']:.2f}), {line['tokens']:,} tokens, {line['images']:,} images"
            )
    for reason, number in Counter(reason for _, _, reason in plan.excluded).items():
        say(f"{number:,} rows left out: {reason} (plan.excluded.jsonl)")
    trained, everything = model.get_nb_trainable_parameters()
    waste = 100 * plan.padding_waste(limits.micro_batch)
    say(
        f"{plan.steps:,} steps of {limits.global_batch} examples; padding {waste:.1f} %;"
        f" {trained:,} of {everything:,} parameters are trained, in {len(model.targeted_module_names)} layers"
    )


def _finish(recipe: TrainingRecipe, result: Result, say: Callable[[str], None]) -> None:
    for name in ("training_args.bin", "README.md"):  # the library's; the card says more
        (result.adapter / name).unlink(missing_ok=True)
    write_event(recipe.out, "end", step=result.steps, loss=result.loss, evaluation=result.evaluation)
    plot_loss(recipe.out, recipe.name)
    write_card(recipe.out)
    say(f"adapter: {result.adapter}; record: {recipe.out / LOG}, {recipe.out / 'loss.png'}, {recipe.out / 'README.md'}")


def _plain(recipe: TrainingRecipe) -> dict[str, Any]:
    """The recipe with all its values; of the mixture, those that say something."""
    mixture = recipe.mixture
    if not isinstance(mixture, str):
        return recipe.model_dump(mode="json") | {"mixture": mixture.model_dump(mode="json", exclude_defaults=True)}
    return recipe.model_dump(mode="json")


def _device_name(device: Any) -> str:
    import torch

    return str(torch.cuda.get_device_name(device)) if device.type == "cuda" else str(device.type)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
