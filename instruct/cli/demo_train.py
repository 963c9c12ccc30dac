"""``cxr-instruct demo-train``."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from instruct.cli import options
from instruct.cli.demo import build_demo

if TYPE_CHECKING:
    from instruct.training.recipe import TrainingRecipe

_OUT = Path("demo")  # where the shipped recipe looks for its data and its model
_RECIPE = "lora_tiny"
_NEW_TOKENS = 64

Values = dict[str, float | None]


@click.command("demo-train")
@click.option("--out", type=click.Path(path_type=Path), default=_OUT, show_default=True, help="Folder to fill.")
@click.option("--studies", type=click.IntRange(20), default=200, show_default=True, help="Made-up studies per source.")
@click.option("--steps", type=click.IntRange(1), help="Optimizer steps [default: the recipe's].")
@click.option(
    "--family",
    type=click.Choice(["llava", "qwen2_vl", "idefics3"]),
    default="idefics3",
    show_default=True,
    help="Family of the tiny model.",
)
@options.as_json
def command(out: Path, studies: int, steps: int | None, family: str, as_json: bool) -> None:
    """Run everything once on made-up data: build, check, train a tiny model's adapter, generate, evaluate.

    The model has a million random weights, so its reports are no good; what is shown is that the loss falls and the
    scores rise. Every step can be repeated with the command that is printed for it.
    """
    # More threads than one only wait for each other in a model this small; torch reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    began = time.monotonic()
    changes = (
        [] if out == _OUT else [f"out={out}/train/run", f"model.id={out}/train/model", f"mixture.data=[{out}/dataset]"]
    )
    changes += [] if steps is None else [f"plan.steps={steps}"]
    named = " ".join([_RECIPE, *changes])

    def say(text: str) -> None:
        if not as_json:
            click.echo(text)

    def step(text: str) -> None:
        say(click.style(f"\n[{time.monotonic() - began:5.1f} s] {text}", bold=True))

    step(f"cxr-instruct demo --out {out} --studies {studies}")
    dataset, _ = build_demo(out, studies, quiet=True)
    recipe = _recipe(changes, family)
    step(f"cxr-instruct check {named}")
    say(_check(recipe))
    step(f"cxr-instruct train {named}")
    before = _base_loss(recipe)
    say(f"evaluation loss without an adapter {before:.4f}")
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        after = _train(recipe)
    losses: Values = {"before": before, "after": after}
    step(f"cxr-instruct generate {named} --max-new-tokens {_NEW_TOKENS}, without and with the adapter")
    scores = _scores(recipe, dataset)
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps({"run": str(recipe.out), "seconds": round(seconds, 1), "loss": losses, "scores": scores}))
        return
    step(f"cxr-instruct evaluate {recipe.out}/predictions/test/predictions.jsonl --references {dataset}")
    _print(losses, scores)
    click.echo(f"\nDone in {seconds:.0f} s. Adapter, log, loss curve, model card and predictions are in {recipe.out}")


def _recipe(changes: list[str], family: str) -> TrainingRecipe:
    """The recipe; its model is made if it is not there, with a tokenizer of the training texts."""
    from instruct.mixture.index import build_index
    from instruct.mixture.rows import open_rows
    from instruct.testing.tiny import build_tiny
    from instruct.training.recipe import load_training_recipe

    recipe = load_training_recipe(_RECIPE, changes)
    model = Path(recipe.model.id)
    if not (model / "model.safetensors").is_file():
        index = build_index(recipe.mixture_recipe(), "train")
        rows = (open_rows(part)[row] for part in index.parts for row in part.candidates.tolist())
        texts = [part["text"] or "" for row in rows for turn in row["messages"] for part in turn["content"]]
        build_tiny(family, model, texts)  # type: ignore[arg-type]
    return recipe


def _check(recipe: TrainingRecipe) -> str:
    from instruct.training.preflight import check

    found = check(recipe)
    found.refuse_nothing()
    rows, usable = sum(part.rows for part in found.parts), sum(part.usable for part in found.parts)
    shown = "".join(f"⟦{piece.text}⟧" if piece.supervised else piece.text for piece in found.segments)
    return f"{usable} of {rows} rows are usable. One of them, ⟦supervised⟧:\n{shown.strip()}"


def _base_loss(recipe: TrainingRecipe) -> float:
    """Evaluation loss of the model without an adapter."""
    from accelerate import Accelerator

    from instruct.training.base import load_base, model_processor
    from instruct.training.collate import Collator
    from instruct.training.prepare import prepare
    from instruct.training.validation import Validation

    processor = model_processor(recipe.model)
    held_out = prepare(recipe, processor).validation
    assert held_out is not None and recipe.evaluation is not None
    index, measures = held_out
    limit, batch = recipe.plan.max_length, recipe.evaluation.batch_size
    loss_of = Validation(index, measures.length, Collator(processor, limit), batch_size=batch, max_length=limit)
    loss: float = loss_of(load_base(recipe.model), Accelerator())["loss"]
    return loss


def _train(recipe: TrainingRecipe) -> float | None:
    """Evaluation loss of the trained adapter."""
    from instruct.training.run import train

    evaluation = train(recipe, "auto").evaluation
    return evaluation["loss"] if evaluation else None


def _scores(recipe: TrainingRecipe, dataset: Path) -> dict[str, dict[str, Values]]:
    """By '[Task] [Dataset] split' and metric, the value before and after."""
    from instruct.mixture.index import build_index
    from instruct.training.generate import Request, generate
    from instruct.training.scoring import score

    index = build_index(recipe.mixture_recipe(), "test")
    predictions = recipe.out / "predictions"
    found: dict[str, dict[str, Values]] = {}
    for name, adapter, out in (("before", None, "test-base"), ("after", recipe.out / "adapter", "test")):
        done = generate(Request(recipe.model, adapter, max_new_tokens=_NEW_TOKENS), index, predictions / out)
        assert done is not None
        for part, scored in score(done.file, dataset).items():
            for metric, value in scored["values"].items():
                found.setdefault(part, {}).setdefault(metric, {})[name] = value
    return found


def _print(losses: Values, scores: dict[str, dict[str, Values]]) -> None:
    def line(name: str, values: Values) -> str:
        numbers = ("n/a" if value is None else f"{value:.3f}" for value in (values["before"], values["after"]))
        return f"{name:58}" + "".join(f"{number:>8}" for number in numbers)

    click.echo(f"{'':58}{'before':>8}{'after':>8}")
    click.echo(line("evaluation loss, validation split", losses))
    for part, metrics in scores.items():
        for metric, values in metrics.items():
            click.echo(line(f"{part}: {metric}", values))
