"""One process, two processes, accumulation: the same run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from instruct.mixture.plan import RunPlan
from instruct.training.recipe import TrainingRecipe
from instruct.training.run import train
from tests.training.runs import TWO, apart, evaluations, finish, launch, losses, recipe, write_recipe

pytestmark = pytest.mark.slow
# Masks of dropout belong to a process; all else does not depend on how a step is cut.
STILL = {
    "lora": {"dropout": 0},
    "save": {"every": 3},
    "plan": {"steps": 6, "micro_batch": 8},
    "evaluation": {"every": 3},
}

Make = Callable[..., TrainingRecipe]


@pytest.fixture(scope="module")
def make(demo_dataset: Path, tiny: Callable[..., Path]) -> Make:
    def made(out: Path, **plan: int) -> TrainingRecipe:
        changes = {**STILL, "plan": {**STILL["plan"], **plan}}
        return recipe(out, demo_dataset, tiny("llava"), **changes)

    return made


@pytest.fixture(scope="module")
def one(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps of one process, eight rows at once."""
    out = tmp_path_factory.mktemp("one") / "run"
    train(make(out))
    return out


@pytest.fixture(scope="module")
def two(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six steps of two processes of two rows, accumulating twice; rows with and without images, adapters everywhere."""
    out = tmp_path_factory.mktemp("two") / "run"
    finish(launch(TWO, write_recipe(out.parent / "r.yaml", make(out, micro_batch=2))))
    return out


def test_rows_with_and_without_images_reach_both_processes(two: Path) -> None:
    # The case in which a rank whose batch has no image hangs unless unused parameters are looked for.
    plan = RunPlan.load(two)
    text = [label.startswith("[Findings Summarization]") for label in plan.meta["labels"]]
    only_text = [all(text[part] for part in plan.part[start : start + 2]) for start in range(0, len(plan), 2)]
    by_rank = [only_text[0::2], only_text[1::2]]
    assert any(first != second for first, second in zip(*by_rank, strict=True)), (
        "no step sets one rank against the other"
    )
    assert list(losses(two)) == [1, 2, 3, 4, 5, 6]


def test_two_processes_are_one(one: Path, two: Path) -> None:
    assert apart(losses(one), losses(two)) <= 1e-5
    assert apart(evaluations(one), evaluations(two)) <= 1e-5


def test_accumulation_is_a_large_batch(one: Path, make: Make, tmp_path: Path) -> None:
    train(make(tmp_path / "run", micro_batch=2))
    assert apart(losses(one), losses(tmp_path / "run")) <= 1e-5
    assert apart(evaluations(one), evaluations(tmp_path / "run")) <= 1e-5


def test_a_checkpoint_of_two_processes_goes_on_in_one(one: Path, two: Path, make: Make, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(two, out)
    shutil.rmtree(out / "checkpoint-6")
    said: list[str] = []
    train(make(out), "auto", say=said.append)
    assert said[0] == f"resuming from {out / 'checkpoint-3'}"
    assert (out / "checkpoint-3" / "rng_state_1.pth").is_file() and (out / "checkpoint-6" / "rng_state.pth").is_file()
    assert apart(losses(out), losses(one)) <= 1e-5


def test_a_fault_of_one_process_ends_both(make: Make, demo_dataset: Path, tmp_path: Path) -> None:
    # A learning rate that makes the second step's loss overflow on every process.
    made = make(tmp_path / "run", micro_batch=2)
    file = write_recipe(tmp_path / "r.yaml", made)
    output = finish(launch(TWO, file, "optimizer.learning_rate=1e30"), check=None)
    assert "the loss is not finite; the batches held " in output and "[process 0] error: " in output
