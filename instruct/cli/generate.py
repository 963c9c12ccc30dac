"""``cxr-instruct generate``."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from instruct.cli import options
from instruct.errors import UsageError

if TYPE_CHECKING:
    from instruct.mixture.recipe import MixtureRecipe
    from instruct.training.generate import Listener
    from instruct.training.recipe import TrainingRecipe

_EVERY = 10.0  # seconds between lines of progress


@click.command("generate")
@click.argument("model", metavar="RECIPE|MODEL")
@options.overrides
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Dataset folder that `build` made [default: that of the recipe's mixture].",
)
@click.option("--split", type=options.split, default="test", show_default=True)
@click.option("--task", "tasks", multiple=True, help="'[Task] [Dataset]' or its folder; may hold * and be repeated.")
@click.option(
    "--adapter",
    type=click.Path(path_type=Path),
    help="Folder of a LoRA adapter [default: the recipe's; none for a MODEL].",
)
@click.option("--revision", help="Commit, tag or branch of a MODEL on the Hub.")
@click.option("--engine", type=click.Choice(["transformers", "vllm"]), default="transformers", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True, help="Examples answered together.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=512, show_default=True, help="Longest answer.")
@click.option("--max-rows", type=click.IntRange(1), help="Examples per '[Task] [Dataset]' [default: all].")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the predictions [default: predictions/SPLIT in the run's folder; predictions here for a MODEL].",
)
@click.option("--evaluate", "scored", is_flag=True, help="Then score the answers, as `cxr-instruct evaluate` does.")
@options.as_json
def command(
    model: str,
    overrides: tuple[str, ...],
    data: Path | None,
    split: str,
    tasks: tuple[str, ...],
    adapter: Path | None,
    revision: str | None,
    engine: str,
    batch_size: int,
    max_new_tokens: int,
    max_rows: int | None,
    out: Path | None,
    scored: bool,
    as_json: bool,
) -> None:
    """Answer the examples of a split greedily, and write predictions that `evaluate` reads.

    RECIPE is a training recipe, whose adapter answers; MODEL a model folder or a name on the Hub. Killed, it goes on
    where it was. On several GPUs: accelerate launch -m instruct.cli generate …
    """
    from instruct.mixture.index import build_index
    from instruct.training.generate import Request, generate
    from instruct.training.recipe import ModelChoice

    recipe = _recipe(model, overrides, revision)
    request = Request(
        model=recipe.model if recipe else ModelChoice(id=model, revision=revision),
        adapter=adapter or (_trained(recipe) if recipe else None),
        quant=recipe.quant if recipe else None,
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        max_rows=max_rows,
        engine="vllm" if engine == "vllm" else "transformers",
    )
    index = build_index(_mixture(recipe, data, tasks, split), split)
    asked, *others = dict.fromkeys(part.folder for part in index.parts if part.draws)
    if others:
        raise UsageError(
            f"the examples are of {1 + len(others)} dataset folders; choose one with --data, such as {asked}"
        )
    folder = out or (recipe.out / "predictions" / split if recipe else Path("predictions"))
    done = generate(request, index, folder, None if as_json else _progress())
    if done is None:
        return  # another process speaks
    scores = folder / "evaluation"
    report = None
    if scored:
        from instruct.evaluation import evaluate

        report = evaluate(done.file, asked)
        report.write(scores)
    if as_json:
        told = {"predictions": str(done.file), "made": done.made, "found": done.found, "finish": dict(done.finish)}
        scores_told = {"scores": str(scores), "summary": report.summary()} if report else {}
        click.echo(json.dumps({**told, "seconds": round(done.seconds, 3), **scores_told}))
        return
    finish = ", ".join(f"{reason} {number:,}" for reason, number in sorted(done.finish.items()))
    found = f", {done.found:,} were there" if done.found else ""
    click.echo(f"{done.made:,} examples answered in {done.seconds:.1f} s{found}{f': {finish}' if finish else ''}")
    if report:
        click.echo(f"The predictions are in {done.file}, their scores in {scores}.\n")
        click.echo(report.markdown().rstrip("\n"))
        return
    click.echo(f"The predictions are in {done.file}. Score them:\n")
    click.echo(f"    cxr-instruct evaluate {done.file} --references {asked}")


def _recipe(name: str, overrides: tuple[str, ...], revision: str | None) -> TrainingRecipe | None:
    """The training recipe that an argument names; None where it names a model."""
    from instruct.specs.recipe import shipped_recipes
    from instruct.training.recipe import load_training_recipe

    if Path(name).suffix in (".yaml", ".yml") or name in shipped_recipes("lora"):
        if revision:
            raise UsageError("--revision is for a MODEL; of a recipe, override model.revision=…")
        return load_training_recipe(name, overrides)
    if overrides:
        raise UsageError(f"{name} is no recipe, so that {overrides[0]} overrides nothing")
    return None


def _trained(recipe: TrainingRecipe) -> Path:
    adapter = recipe.out / "adapter"
    if not adapter.is_dir():
        raise UsageError(
            f"{adapter}: there is no adapter yet; train the recipe, give a checkpoint as --adapter, or give the model "
            f"{recipe.model.id} in place of the recipe"
        )
    return adapter


def _mixture(recipe: TrainingRecipe | None, data: Path | None, tasks: tuple[str, ...], split: str) -> MixtureRecipe:
    """What to answer: the rows of a folder, or those of the recipe's mixture."""
    from instruct.mixture.index import build_index
    from instruct.mixture.recipe import MixtureRecipe, Use

    own = recipe.mixture_recipe() if recipe else None
    if data is None and own is None:
        raise UsageError("--data is missing: the dataset folder that `cxr-instruct build` made")
    if data is None and own is not None and not tasks:
        return own
    folders = [data] if data is not None else own.data if own else []
    if not folders and own is not None:  # those of the mixtures inside it
        folders = list(dict.fromkeys(part.folder for part in build_index(own, split).parts))
    return MixtureRecipe(name="generate", data=folders, use=[Use(configs=list(tasks) or ["*"])])


def _progress() -> Listener:
    last = [time.monotonic()]

    def listen(done: int, total: int) -> None:
        if time.monotonic() - last[0] >= _EVERY:
            last[0] = time.monotonic()
            click.echo(f"{done:,} of {total:,} examples", err=True)

    return listen
