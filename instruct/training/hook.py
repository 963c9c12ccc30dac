"""Answers at every checkpoint of a run, scored by the metric suite; the training goes on as if nobody had asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType, gather_object
from transformers import TrainerCallback

from instruct.errors import UsageError
from instruct.mixture.index import build_index
from instruct.training.answers import Answerer
from instruct.training.asked import AskedRows
from instruct.training.log import write_event
from instruct.training.predictions import PREDICTIONS, Line, write_predictions
from instruct.training.recipe import TrainingRecipe
from instruct.training.scoring import headline, score


class GenerationHook(TrainerCallback):  # type: ignore[misc]
    """Asks some examples whenever a checkpoint is saved, on all processes.

    ``RUN/predictions/step-N/predictions.jsonl`` is what ``cxr-instruct generate`` would write, and
    ``cxr-instruct evaluate`` reads it. The scores of it go into the run's log as ``scores``: those metrics of the suite
    that need no model. Greedy decoding draws no random number, and the model is put back as it was.

    Args:
        recipe: the run's recipe, with ``generation`` set.
        processor: from :func:`instruct.training.processor.load_processor`.
        run: folder of the run.

    Raises:
        DataError: the mixture has no example in the split.
    """

    def __init__(self, recipe: TrainingRecipe, processor: Any, run: Path) -> None:
        assert recipe.generation is not None
        self._settings, self._processor, self._run = recipe.generation, processor, run
        self._rows = AskedRows(build_index(recipe.mixture_recipe(), self._settings.split), self._settings.max_rows)
        self._batches = self._rows.batches(self._settings.batch_size)

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Refuse models that no process holds as a whole.

        Raises:
            UsageError: with what to do instead.
        """
        if AcceleratorState().distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise UsageError(
                "generation: a model that is spread over the processes (FSDP, DeepSpeed) cannot answer while it is "
                "trained; set generation to null and run `cxr-instruct generate` on the saved adapter"
            )

    def on_save(self, args: Any, state: Any, control: Any, model: Any = None, **others: Any) -> None:
        """Ask, write and score."""
        world = PartialState()
        answerer = Answerer(_unwrapped(model), self._processor, self._settings.max_new_tokens)
        made = []
        for number in range(world.process_index, len(self._batches), world.num_processes):
            batch = self._batches[number]
            answers = answerer([self._rows[position] for position in batch])
            made.append((number, [self._rows.line(*pair) for pair in zip(batch, answers, strict=True)]))
        lines = self._rows.in_order(self._batches, dict(gather_object(made)))
        if world.is_main_process:
            self._keep(state.global_step, lines)

    def _keep(self, step: int, lines: list[Line]) -> None:
        """Write and score the predictions, those of each dataset folder in a file of their own."""
        folders = self._rows.folders
        names = [PREDICTIONS] if len(folders) == 1 else [f"predictions-{n}.jsonl" for n in range(1, len(folders) + 1)]
        for folder, name in zip(folders, names, strict=True):
            file = self._run / "predictions" / f"step-{step}" / name
            write_predictions(file, [line for n, line in enumerate(lines) if self._rows.folder(n) == folder])
            scores = score(file, folder)
            write_event(self._run, "scores", step=step, data=str(folder), parts=scores)
            for text in headline(scores):
                click.echo(f"step {step}  {text}")


def _unwrapped(model: Any) -> Any:
    """The model inside what makes it run on several processes."""
    return model.module if hasattr(model, "module") else model
