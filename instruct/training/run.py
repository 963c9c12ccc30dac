"""A training run: from a recipe to a folder with the adapter and the record of how it was made."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instruct.build.files import locked
from instruct.errors import DataError
from instruct.mixture.rows import open_rows
from instruct.training import checkpoints
from instruct.training.base import load_base, model_processor
from instruct.training.log import FILE as LOG
from instruct.training.log import read_log, write_event
from instruct.training.lora import attach_adapter, may_be_unused
from instruct.training.meter import Meter
from instruct.training.model_card import FILE as CARD
from instruct.training.model_card import write_card
from instruct.training.plot import plot_loss
from instruct.training.prepare import Prepared, prepare
from instruct.training.processor import align_pad_token
from instruct.training.recipe import TrainingRecipe
from instruct.training.record import say_plan, write_record
from instruct.training.settings import accumulation, check_kinds, check_sharding, training_arguments, world_size

if TYPE_CHECKING:
    from instruct.training.trainer import LoraTrainer

ADAPTER = "adapter"


@dataclass(frozen=True)
class Result:
    """What a run gave.

    Attributes:
        out: folder of the run.
        adapter: folder of the adapter.
        steps: optimizer steps behind it; fewer than were taken if an early stop went back to the best checkpoint.
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
        resume: ``auto`` continues from the newest complete checkpoint of the run's folder, if there is one, and leaves
            a finished run as it is; or a checkpoint's folder; None starts a new run.
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
        done = _finished(recipe.out) if resume == "auto" else None
        checkpoint, lines = checkpoints.resume_from(recipe.out, resume) if done is None else (None, [])
        for line in lines:
            quiet(line)
        processor = model_processor(recipe.model)
        with state.main_process_first():  # the others read what it measured
            data = prepare(recipe, processor, workers=_workers(state), say=quiet)
        _same_everywhere(data, state)
        check_kinds(recipe, data.plan, data.measures.images)
        if checkpoint is not None or done is not None:
            checkpoints.check_same_run(recipe.out, data.facts)
        if done is not None:
            quiet(f"{done.out}: is finished; --resume {done.out}/checkpoint-N would go on from there")
            return done
        set_seed(recipe.plan.seed)  # the adapter starts from random numbers
        model = load_base(recipe.model, recipe.quant, state.device)
        align_pad_token(model, processor)
        model = attach_adapter(model, recipe.model, recipe.lora, recipe.gradient_checkpointing)
        if state.is_main_process:
            write_record(recipe, data, processor, model, state, checkpoint)
            say_plan(recipe, data, model, quiet)
        trainer = _trainer(recipe, data, processor, model)
        outcome = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        evaluation = trainer.final_evaluation()
        trainer.save_model(str(recipe.out / ADAPTER))
        state.wait_for_everyone()
        result = Result(recipe.out, recipe.out / ADAPTER, trainer.adapter_step, outcome.training_loss, evaluation)
        if state.is_main_process:
            _finish(recipe, result, quiet)
        state.wait_for_everyone()
    return result


def _finished(out: Path) -> Result | None:
    """What a finished run gave; None where it is not finished, or was started again since."""
    if not (out / LOG).is_file() or not (out / ADAPTER / CARD).is_file():  # the card is written last
        return None
    *_, last = [{"event": ""}, *(line for line in read_log(out) if line["event"] in ("start", "end"))]
    if last["event"] != "end":
        return None
    return Result(out, out / ADAPTER, last["step"], last["loss"], last["evaluation"])


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
    from instruct.training.faults import Carrying
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
        args=training_arguments(recipe, data.plan.steps, may_be_unused(recipe.lora, data.draws_text_only)),
        train_dataset=rows,
        eval_dataset=rows,  # asked for, and not used: `evaluate` has rows of its own
        data_collator=Carrying(collator),
    )
    trainer.remove_callback(PrinterCallback)
    if recipe.evaluation is not None and recipe.evaluation.early_stop is not None:
        trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=recipe.evaluation.early_stop))
    if recipe.generation is not None:
        from instruct.training.hook import GenerationHook

        trainer.add_callback(GenerationHook(recipe, processor, recipe.out))
    return trainer


def _finish(recipe: TrainingRecipe, result: Result, say: Callable[[str], None]) -> None:
    for name in ("training_args.bin", "README.md"):  # the library's; the card says more
        (result.adapter / name).unlink(missing_ok=True)
    write_event(recipe.out, "end", step=result.steps, loss=result.loss, evaluation=result.evaluation)
    plot_loss(recipe.out, recipe.name)
    write_card(recipe.out)
    say(f"adapter: {result.adapter}; record: {recipe.out / LOG}, {recipe.out / 'loss.png'}, {recipe.out / 'README.md'}")
