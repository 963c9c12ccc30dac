"""What a run needs before a model is loaded: the mixture, the lengths, the plan, the rows it is evaluated on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from instruct.errors import DataError
from instruct.mixture.index import MixtureIndex, build_index
from instruct.mixture.plan import RunPlan, plan_run
from instruct.training.base import base_fingerprint
from instruct.training.exclusions import read_exclusions
from instruct.training.measures import Measures, measure_index, only_rows
from instruct.training.recipe import TrainingRecipe
from instruct.training.settings import mixed_precision
from instruct.training.validation import choose_rows

_SHOWN = 5


@dataclass(frozen=True)
class Prepared:
    """The data of a run.

    Attributes:
        index: the training mixture.
        measures: lengths of its rows.
        plan: the rows in the order they are seen.
        validation: rows to evaluate on, and their lengths; None where the recipe wants none.
        facts: what a resumed run must have in common with the one that was started.
    """

    index: MixtureIndex
    measures: Measures
    plan: RunPlan
    validation: tuple[MixtureIndex, Measures] | None
    facts: dict[str, Any]

    @property
    def draws_text_only(self) -> bool:
        """Whether the run sees a row without an image."""
        plan = self.plan
        return any(
            bool((images[plan.row[plan.part == part]] == 0).any()) for part, images in enumerate(self.measures.images)
        )


def prepare(
    recipe: TrainingRecipe, processor: Any, *, workers: int = 1, say: Callable[[str], None] | None = None
) -> Prepared:
    """Index, measure and plan; on every process the same.

    Raises:
        DataError: nothing is left to train on, a row is too long and the recipe calls that an error, or the data
            cannot be read.
        SpecError: the mixture's recipe is invalid.
    """
    base = base_fingerprint(recipe.model)
    mixture = recipe.mixture_recipe()

    def measured(index: MixtureIndex) -> tuple[Measures, list[dict[int, str]]]:
        found = measure_index(index, processor, recipe.out, tokenized_by=base, workers=workers, say=say)
        reasons = [dict(faults) for faults in found.reasons]
        for length, faults, excluded in zip(found.length, reasons, read_exclusions(recipe.out, index), strict=True):
            for row, reason in excluded.items():
                length[row] = -1
                faults.setdefault(row, reason)
        return found, reasons

    index = build_index(mixture, "train")
    measures, reasons = measured(index)
    limits = recipe.plan
    if limits.on_too_long == "error":
        _refuse_long(index, measures, limits.max_length)
    plan = plan_run(
        index,
        measures.length,
        global_batch=limits.global_batch,
        steps=limits.steps,
        epochs=None if limits.steps is not None else limits.epochs or 1,
        seed=limits.seed,
        max_length=limits.max_length,
        pool=limits.pool,
        text_only=[images == 0 for images in measures.images] if limits.text_only_apart else None,
        reasons=reasons,
    )
    facts = {
        "base": base,
        "data": index.digest,
        "plan": plan.digest,
        "global_batch": limits.global_batch,
        "max_length": limits.max_length,
        "steps": plan.steps,
        "seed": limits.seed,
        "dtype": recipe.model.dtype,
        "precision": mixed_precision(recipe),
        "lora": recipe.lora.model_dump(mode="json"),
        "quant": recipe.quant.model_dump(mode="json") if recipe.quant else None,
        "optimizer": recipe.optimizer.model_dump(mode="json"),
    }
    validation = None
    if recipe.evaluation is not None:
        try:
            rows = build_index(mixture, recipe.evaluation.split)
        except DataError as error:
            raise DataError(
                f"evaluation: {error}; choose another evaluation.split, or set evaluation to null"
            ) from error
        rows = only_rows(rows, choose_rows(rows, recipe.evaluation.max_rows, limits.seed))
        validation = (rows, measured(rows)[0])
        _refuse_no_evaluation(validation, recipe)
    return Prepared(index, measures, plan, validation, facts)


def _refuse_no_evaluation(validation: tuple[MixtureIndex, Measures], recipe: TrainingRecipe) -> None:
    """Refuse an evaluation of nothing, whose loss would be no number."""
    index, measures = validation
    limit = recipe.plan.max_length
    lengths = np.concatenate(
        [length[part.candidates] for part, length in zip(index.parts, measures.length, strict=True)]
    )
    if not ((lengths > 0) & (lengths <= limit)).any():
        raise DataError(
            f"evaluation: of {len(lengths):,} rows of split {index.split} none is usable, {(lengths > limit).sum():,}"
            f" are longer than plan.max_length {limit}; `cxr-instruct check` lists them. Choose another"
            " evaluation.split, raise plan.max_length, or set evaluation to null"
        )


def _refuse_long(index: MixtureIndex, measures: Measures, limit: int) -> None:
    for part, length in zip(index.parts, measures.length, strict=True):
        if len(long := np.flatnonzero(length > limit)):
            rows = ", ".join(map(str, long[:_SHOWN]))
            raise DataError(
                f"{part.label}: {len(long):,} rows are longer than plan.max_length {limit} (rows {rows} …; the longest"
                f" has {length.max()} tokens); raise it, or set plan.on_too_long=exclude"
            )
