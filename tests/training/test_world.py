"""One process, two processes, accumulation: the same run."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from instruct.mixture.index import build_index
from instruct.mixture.plan import RunPlan
from instruct.mixture.rows import open_rows
from instruct.training.lengths import Lengths
from instruct.training.log import read_log
from instruct.training.processor import load_processor
from instruct.training.recipe import TrainingRecipe
from instruct.training.run import train
from tests.build.helpers import rows
from tests.training.runs import TWO, apart, evaluations, finish, launch, losses, recipe, write_recipe
from tests.training.spoil import change, copied, cut_file

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


def test_a_layer_of_the_vision_tower_that_is_not_used(
    tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]
) -> None:
    """As of LLaVA-1.5, which takes the output of the last layer but one: every row has an image all the same."""
    model = tmp_path / "model"
    shutil.copytree(tiny("llava"), model)
    config = json.loads((model / "config.json").read_text("utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"vision_feature_layer": -2}), "utf-8")
    only = {"mixture": {"use": [{"tasks": "Findings Generation"}]}, "evaluation": None}
    made = recipe(tmp_path / "run", demo_dataset, model, **only, plan={"steps": 2})
    finish(launch(TWO, write_recipe(tmp_path / "r.yaml", made)))
    assert list(losses(tmp_path / "run")) == [1, 2]


def test_two_nodes_are_one_process(one: Path, make: Make, tmp_path: Path) -> None:
    """Two launches that find each other by address, as on two machines, with a disk that both see."""
    file = write_recipe(tmp_path / "r.yaml", make(tmp_path / "run", micro_batch=4))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    changed = {"--num_machines": "2", "--main_process_port": port}
    how = [changed.get(before, word) for before, word in zip(["", *TWO], TWO, strict=False)]
    address = ["--main_process_ip", "127.0.0.1", "--machine_rank"]
    nodes = [launch([*how[:2], *address, str(rank), *how[2:]], file) for rank in (0, 1)]
    outputs = [finish(node) for node in nodes]
    assert "step 6/6" in outputs[0] and "step" not in outputs[1]  # the first process alone speaks
    assert apart(losses(one), losses(tmp_path / "run")) <= 1e-5
    assert apart(evaluations(one), evaluations(tmp_path / "run")) <= 1e-5


def test_accumulation_is_a_large_batch(one: Path, make: Make, tmp_path: Path) -> None:
    train(make(tmp_path / "run", micro_batch=2))
    assert apart(losses(one), losses(tmp_path / "run")) <= 1e-5
    assert apart(evaluations(one), evaluations(tmp_path / "run")) <= 1e-5


def test_a_checkpoint_of_two_processes_goes_on_in_one(one: Path, two: Path, make: Make, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(two, out)
    shutil.rmtree(out / "checkpoint-6")
    shutil.rmtree(out / "adapter")
    said: list[str] = []
    train(make(out), "auto", say=said.append)
    assert said[0] == f"resuming from {out / 'checkpoint-3'}"
    assert (out / "checkpoint-3" / "rng_state_1.pth").is_file() and (out / "checkpoint-6" / "rng_state.pth").is_file()
    assert apart(losses(out), losses(one)) <= 1e-5


def test_a_checkpoint_of_one_process_goes_on_in_two(one: Path, make: Make, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(one, out)
    shutil.rmtree(out / "checkpoint-6")
    shutil.rmtree(out / "adapter")
    file = write_recipe(tmp_path / "r.yaml", make(out, micro_batch=2))
    assert f"resuming from {out / 'checkpoint-3'}" in finish(launch(TWO, file, "--resume", "auto"))
    assert apart(losses(out), losses(one)) <= 1e-5


def drawn_ids(out: Path, data: Path) -> list[str]:
    """Ids in the order of a run's plan."""
    plan = RunPlan.load(out)
    config = {task["name"]: task["config"] for task in json.loads((data / "manifest.json").read_text("utf-8"))["tasks"]}
    parts = [
        rows(data, config[label], "train") if number else []
        for label, number in zip(plan.meta["labels"], plan.meta["rows"], strict=True)
    ]
    return [parts[part][row]["id"] for part, row in zip(plan.part, plan.row, strict=True)]


def test_a_loss_that_is_no_number_on_one_process_ends_both(
    make: Make, demo_dataset: Path, tiny: Callable[..., Path], one: Path, tmp_path: Path
) -> None:
    """A token whose embedding is no number occurs for the first time in one row, on the second process."""
    plan = RunPlan.load(one)
    index = build_index(make(tmp_path).mixture_recipe())
    opened = [open_rows(part) for part in index.parts]
    lengths = Lengths(load_processor(tiny("llava")))
    tokens = [
        set(lengths.tokens(opened[part][row]).ids.tolist()) for part, row in zip(plan.part, plan.row, strict=True)
    ]
    draw, token = next(
        (draw, min(new))
        for draw in range(8, 48)
        if draw // 2 % 2 == 1  # pairs of rows are dealt to the processes in turn
        and (new := tokens[draw].difference(*(tokens[other] for other in range((draw // 8 + 1) * 8) if other != draw)))
    )
    model = tmp_path / "model"
    shutil.copytree(tiny("llava"), model)
    weights = load_file(model / "model.safetensors")
    weights[next(name for name in weights if name.endswith("embed_tokens.weight"))][token] = float("nan")
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    made = make(tmp_path / "run", micro_batch=2)
    made = made.model_copy(update={"model": made.model.model_copy(update={"id": str(model)})})
    output = finish(launch(TWO, write_recipe(tmp_path / "r.yaml", made)), check=1)
    step, bad = draw // 8 + 1, drawn_ids(one, demo_dataset)[draw]
    assert f"step {step}: the loss is not finite; the batches held " in output
    (stop,) = read_log(tmp_path / "run", "stop")
    pair = drawn_ids(one, demo_dataset)[draw - draw % 2 :][:2]
    assert stop["step"] == step and bad in stop["ids"] and set(stop["ids"]) == set(pair)
    assert all(f"[process {rank}] error: step {step}: the loss" in output for rank in (0, 1))
    assert list(losses(tmp_path / "run")) == list(range(1, step)) and not (tmp_path / "run" / "adapter").exists()


def test_an_image_that_breaks_on_one_process_ends_both(
    make: Make, demo_dataset: Path, one: Path, tmp_path: Path
) -> None:
    data = copied(demo_dataset, tmp_path / "data", own_images=True)
    broken = drawn_ids(one, demo_dataset)
    plan = RunPlan.load(one)
    draw = next(
        draw
        for draw in range(8, 48)
        if draw // 2 % 2 == 1 and plan.meta["labels"][plan.part[draw]].startswith("[Findings Generation]")
    )

    def spoil(found: list[dict[str, Any]]) -> None:
        for row in found:
            if row["id"] == broken[draw]:
                cut_file(row["images"][0]["path"])

    change(data, spoil, "findings_generation-*", "train")
    made = make(tmp_path / "run", micro_batch=2)
    mixture = made.mixture_recipe().model_copy(update={"data": [data]})
    output = finish(
        launch(TWO, write_recipe(tmp_path / "r.yaml", made.model_copy(update={"mixture": mixture}))), check=1
    )
    assert f"[process 1] error: row {broken[draw]}, image 1: " in output and "truncated" in output
    assert not (tmp_path / "run" / "adapter").exists()
