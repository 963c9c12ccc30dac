"""A run that is interrupted and continued is the run that was not; another run is not continued."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from instruct.api import build_dataset, load_recipe
from instruct.errors import DataError, UsageError
from instruct.mixture.plan import RunPlan
from instruct.training.log import read_log
from instruct.training.recipe import TrainingRecipe
from instruct.training.run import train
from tests.conftest import Corpora
from tests.training.runs import ONE, evaluations, finish, launch, losses, recipe, write_recipe

Recipe = Callable[..., TrainingRecipe]


@pytest.fixture
def made(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> Recipe:
    """The recipe of ``tiny_run``, in a folder of this test."""
    return lambda **changes: recipe(tmp_path / "run", demo_dataset, tiny("llava"), **changes)


@pytest.fixture
def stopped(tmp_path: Path, tiny_run: Path) -> Path:
    """``tiny_run`` as if it had been interrupted after its first checkpoint, in the middle of its epoch."""
    out = tmp_path / "run"
    shutil.copytree(tiny_run, out)
    shutil.rmtree(out / "checkpoint-8")
    shutil.rmtree(out / "adapter")
    lines = (out / "log.jsonl").read_text("utf-8").splitlines(keepends=True)
    (out / "log.jsonl").write_text("".join(lines[:7]) + '{"event": "tr', "utf-8")  # as a kill leaves it
    return out


def adapter(out: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(out / "adapter" / "adapter_model.safetensors"))


def assert_same_run(one: Path, other: Path) -> None:
    """Equal to the last bit: losses, evaluation losses, adapters."""
    assert losses(one) == losses(other)
    assert evaluations(one) == evaluations(other)
    first, second = adapter(one), adapter(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_resumed_in_the_middle_of_an_epoch(made: Recipe, stopped: Path, tiny_run: Path) -> None:
    assert RunPlan.load(tiny_run).report()[0]["repeats"] < 1  # the epoch has not ended
    said: list[str] = []
    result = train(made(), "auto", say=said.append)
    assert said[0] == f"resuming from {stopped / 'checkpoint-4'}"
    assert result.steps == 8 and result.out == stopped
    assert_same_run(tiny_run, stopped)
    record = json.loads((stopped / "run.json").read_text("utf-8"))
    assert [session["resumed_from"] for session in record["sessions"]] == [None, "checkpoint-4"]


def test_loader_workers_change_nothing(made: Recipe, tiny_run: Path, tmp_path: Path) -> None:
    train(made(loader={"workers": 2}))
    assert_same_run(tiny_run, tmp_path / "run")


@pytest.mark.slow
def test_killed_and_resumed(made: Recipe, tiny_run: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "run", write_recipe(tmp_path / "r.yaml", made())
    process = launch(ONE, file, "--resume", "auto")  # the command that a queue repeats: at first there is nothing
    deadline = time.monotonic() + 120
    while not (out / "checkpoint-4" / "complete.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, finish(process, check=None)
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    assert "no complete checkpoint; starting anew" in finish(process, check=-signal.SIGKILL)
    assert not (out / "adapter").exists()
    train(made(), "auto")
    assert_same_run(tiny_run, out)


def test_a_partial_checkpoint_is_passed_over(made: Recipe, stopped: Path, tiny_run: Path) -> None:
    shutil.copytree(tiny_run / "checkpoint-8", stopped / "checkpoint-8")
    (stopped / "checkpoint-8" / "complete.json").unlink()
    shutil.copytree(tiny_run / "checkpoint-8", stopped / "checkpoint-9")
    weights = stopped / "checkpoint-9" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"checkpoint-8: cannot be resumed from: it was not finished"):
        train(made(), str(stopped / "checkpoint-8"))
    said: list[str] = []
    train(made(), "auto", say=said.append)
    assert said[:3] == [
        f"{stopped / 'checkpoint-9'}: skipped: adapter_model.safetensors is not as it was written",
        f"{stopped / 'checkpoint-8'}: skipped: it was not finished: there is no complete.json",
        f"resuming from {stopped / 'checkpoint-4'}",
    ]
    assert_same_run(tiny_run, stopped)


def test_a_finished_run_has_nothing_left_to_do(made: Recipe, tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    said: list[str] = []
    result = train(made(), "auto", say=said.append)
    assert (
        said[-1] == f"{tmp_path / 'run'}: is finished; --resume {tmp_path / 'run'}/checkpoint-N would go on from there"
    )
    (end,) = read_log(tmp_path / "run", "end")
    assert (result.steps, result.loss, result.evaluation) == (8, end["loss"], end["evaluation"])
    assert_same_run(tiny_run, tmp_path / "run")
    with pytest.raises(DataError, match="cannot be resumed, this is another run"):
        train(made(lora={"r": 8}), "auto")


# --- refusals ----------------------------------------------------------------------------------------------------


def test_a_run_is_not_overwritten(made: Recipe, stopped: Path) -> None:
    with pytest.raises(UsageError, match=r"already holds a run, up to checkpoint-4; --resume auto continues it"):
        train(made())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"plan": {"global_batch": 4}}, ["global_batch: 8 when the run was started, 4 now", "plan: "]),
        ({"plan": {"steps": 9}}, ["steps: 8 when the run was started, 9 now", "plan: "]),
        ({"lora": {"r": 8}}, ["lora: "]),
        ({"optimizer": {"learning_rate": 1e-3}}, ["optimizer: "]),
        ({"plan": {"max_length": 400}}, ["max_length: 512 when the run was started, 400 now", "plan: "]),
    ],
    ids=["global batch", "steps", "rank", "learning rate", "max_length"],
)
def test_another_recipe_is_refused(made: Recipe, stopped: Path, changes: dict[str, object], named: list[str]) -> None:
    before = (stopped / "run.json").read_bytes()
    with pytest.raises(DataError, match="cannot be resumed, this is another run") as caught:
        train(made(**changes), "auto")
    assert all(text in str(caught.value) for text in named), caught.value
    assert (stopped / "run.json").read_bytes() == before


def test_another_base_is_refused(
    made: Recipe, stopped: Path, tiny: Callable[..., Path], demo_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="base: ") as caught:
        train(recipe(tmp_path / "run", demo_dataset, tiny("idefics3")), "auto")
    assert "idefics3" in str(caught.value)


def test_a_changed_dataset_is_refused(
    stopped: Path, corpora: Corpora, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    other = tmp_path / "dataset"
    build_dataset(load_recipe("demo", ["seed=1"]), other, data_root=corpora.root)  # other words for the same studies
    with pytest.raises(DataError, match=r"this is another run: data: [0-9a-f]{16} when the run was started"):
        train(recipe(stopped, other, tiny("llava")), "auto")


def test_the_same_dataset_elsewhere_is_the_same(
    stopped: Path, tiny_run: Path, demo_dataset: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    shutil.copytree(demo_dataset, tmp_path / "moved")
    train(recipe(stopped, tmp_path / "moved", tiny("llava")), "auto")
    assert_same_run(tiny_run, stopped)


def test_one_run_at_a_time(made: Recipe, tmp_path: Path) -> None:
    from instruct.build.files import locked

    with locked(tmp_path / "run" / ".lock" / "run", "training"), pytest.raises(UsageError, match="another training is"):
        train(made())


def test_a_checkpoint_of_another_run(made: Recipe, stopped: Path, tiny_run: Path) -> None:
    before = (stopped / "run.json").read_bytes()
    with pytest.raises(UsageError, match=rf"checkpoint-8: is not of the run in {stopped}; .* out={tiny_run}"):
        train(made(), str(tiny_run / "checkpoint-8"))
    assert (stopped / "run.json").read_bytes() == before


def test_no_such_checkpoint(made: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint folder; expected auto or RUN/checkpoint-N"):
        train(made(), str(tmp_path / "nothing"))
