"""``cxr-instruct demo-train``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from instruct.cli import options

if TYPE_CHECKING:
    from instruct.training.recipe import TrainingRecipe

_TASKS = ("[Findings Generation] [REX-Gradient]", "[Impression Generation] [REX-Gradient]")
_FAMILIES = ("llava", "qwen2_vl", "idefics3")
_WORDS = 48  # new tokens of an answer: as long as most reports of the made-up corpus


@click.command("demo-train")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo-train"), show_default=True)
@click.option("--studies", type=click.IntRange(40), default=240, show_default=True, help="Made-up studies.")
@click.option("--steps", type=click.IntRange(1), default=240, show_default=True, help="Optimizer steps of 8 examples.")
@click.option(
    "--family", type=click.Choice(_FAMILIES), default="idefics3", show_default=True, help="Of the tiny model."
)
@options.as_json
def command(out: Path, studies: int, steps: int, family: str, as_json: bool) -> None:
    """Run everything once on made-up data and a tiny model: build, check, train, generate, evaluate.

    The model has under a million random weights, so its reports are no good; what is shown is that the loss falls and
    the scores rise. Every step can be repeated with the command that is printed for it.
    """
    began = time.monotonic()

    def say(text: str) -> None:
        if not as_json:
            click.echo(text)

    def step(name: str) -> None:
        say(click.style(f"\n[{time.monotonic() - began:5.1f} s] {name}", bold=True))

    step(f"cxr-instruct demo: {studies} made-up studies of REX-Gradient, built into {out / 'dataset'}")
    dataset = _build(out, studies)
    recipe = _recipe(out, dataset, family, steps)
    step(f"cxr-instruct check {out / 'recipe.yaml'}")
    say(_check(recipe))
    step(f"cxr-instruct train {out / 'recipe.yaml'}")
    losses = _train(recipe, say)
    step(f"cxr-instruct generate {out / 'recipe.yaml'}: the test split, without and with the adapter")
    scores = _scores(recipe, dataset, out)
    seconds = time.monotonic() - began
    if as_json:
        click.echo(json.dumps({"out": str(out), "seconds": round(seconds, 1), "loss": losses, "scores": scores}))
        return
    step(f"cxr-instruct evaluate {recipe.out / 'predictions' / 'test' / 'predictions.jsonl'} --references {dataset}\n")
    _print(losses, scores)
    click.echo(f"\nDone in {seconds:.0f} s. Adapter, log, loss curve and model card are in {recipe.out}")


def _build(out: Path, studies: int) -> Path:
    from instruct.api import build_dataset
    from instruct.build.files import read_json, write_json
    from instruct.errors import UsageError
    from instruct.specs.recipe import Recipe, SourceChoice
    from instruct.synth import write

    held = read_json(out / "data.json")
    if held is None:
        write("rexgradient", out / "data" / "rexgradient", studies=studies)
        write_json(out / "data.json", studies)
    elif held != studies:
        raise UsageError(f"{out}: holds a corpus of {held} studies; choose another --out, or delete it")
    recipe = Recipe(name="demo-train", sources={"rexgradient": SourceChoice()}, tasks=list(_TASKS))
    build_dataset(recipe, out / "dataset", data_root=out / "data")
    return out / "dataset"


def _recipe(out: Path, dataset: Path, family: str, steps: int) -> TrainingRecipe:
    """Write the tiny model and the recipe."""
    import yaml

    from instruct.build.files import write_text
    from instruct.mixture.index import build_index
    from instruct.mixture.recipe import MixtureRecipe
    from instruct.mixture.rows import open_rows
    from instruct.testing.tiny import build_tiny
    from instruct.training.recipe import load_training_recipe

    mixture = {"name": "demo-train", "data": [str(dataset)], "use": [{"configs": "*"}]}
    index = build_index(MixtureRecipe.model_validate(mixture), "train")
    rows = (open_rows(part)[row] for part in index.parts for row in part.candidates)
    texts = [part["text"] or "" for row in rows for turn in row["messages"] for part in turn["content"]]
    model = out / "models" / family
    if not (model / "config.json").is_file():
        build_tiny(family, model, texts)  # type: ignore[arg-type]
    recipe: dict[str, Any] = {
        "name": "demo-train",
        "out": str(out / "run"),
        "mixture": mixture,
        "model": {"id": str(model)},
        "lora": {"preset": "all-linear"},
        "plan": {"max_length": 512, "global_batch": 8, "micro_batch": 8, "steps": steps},
        "optimizer": {"learning_rate": 4.0e-3, "schedule": "cosine", "warmup": 0.05},
        "evaluation": {"split": "validation", "max_rows": 32, "batch_size": 8},
        "save": {"every": steps},
        "log": {"every": max(1, steps // 8)},
    }
    write_text(out / "recipe.yaml", yaml.safe_dump(recipe, sort_keys=False))
    return load_training_recipe(out / "recipe.yaml")


def _check(recipe: TrainingRecipe) -> str:
    from instruct.training.preflight import check

    found = check(recipe)
    found.refuse_nothing()
    rows, usable = sum(part.rows for part in found.parts), sum(part.usable for part in found.parts)
    shown = "".join(f"⟦{piece.text}⟧" if piece.supervised else piece.text for piece in found.segments)
    return f"{usable} of {rows} rows are usable. One of them, ⟦supervised⟧:\n{shown.strip()}"


def _train(recipe: TrainingRecipe, say: Any) -> dict[str, float | None]:
    """Evaluation loss of the base model and of the adapter."""
    from accelerate import Accelerator

    from instruct.training.base import load_base, model_processor
    from instruct.training.collate import Collator
    from instruct.training.prepare import prepare
    from instruct.training.run import train
    from instruct.training.validation import Validation

    processor = model_processor(recipe.model)
    held_out = prepare(recipe, processor).validation
    assert held_out is not None and recipe.evaluation is not None
    index, measures = held_out
    limit, batch = recipe.plan.max_length, recipe.evaluation.batch_size
    loss_of = Validation(index, measures.length, Collator(processor, limit), batch_size=batch, max_length=limit)
    before = loss_of(load_base(recipe.model), Accelerator())["loss"]
    after = train(recipe, "auto", say=say).evaluation
    return {"before": before, "after": after["loss"] if after else None}


def _scores(recipe: TrainingRecipe, dataset: Path, out: Path) -> dict[str, dict[str, dict[str, float | None]]]:
    """By '[Task] [Dataset] split' and metric, the value before and after."""
    from instruct.evaluation import evaluate
    from instruct.mixture.index import build_index
    from instruct.training.generate import Request, generate
    from instruct.training.scoring import score

    index = build_index(recipe.mixture_recipe(), "test")
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for name, adapter, folder in (
        ("before", None, out / "before"),
        ("after", recipe.out / "adapter", recipe.out / "predictions" / "test"),
    ):
        done = generate(Request(recipe.model, adapter, max_new_tokens=_WORDS), index, folder)
        assert done is not None
        for part, scored in score(done.file, dataset).items():
            for metric, value in scored["values"].items():
                found.setdefault(part, {}).setdefault(metric, {})[name] = value
    evaluate(recipe.out / "predictions" / "test" / "predictions.jsonl", dataset).write(out / "evaluation")
    return found


def _print(losses: dict[str, float | None], scores: dict[str, dict[str, dict[str, float | None]]]) -> None:
    def number(value: float | None) -> str:
        return f"{'n/a':>8}" if value is None else f"{value:8.3f}"

    click.echo(f"{'':52}  before   after")
    click.echo(f"{'evaluation loss, validation split':50}{number(losses['before'])}{number(losses['after'])}")
    for part, metrics in scores.items():
        for metric, values in metrics.items():
            click.echo(f"{f'{part}: {metric}':50}{number(values['before'])}{number(values['after'])}")
