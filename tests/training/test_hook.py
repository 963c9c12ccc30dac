"""Answers while a model is trained: they are scored and logged, and the training does not notice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from instruct.errors import DataError
from instruct.evaluation import evaluate
from instruct.training.log import read_log
from instruct.training.run import train
from tests.training.runs import TWO, evaluations, finish, launch, losses, recipe, write_recipe
from tests.training.spoil import change, copied, say

ASKED = {"max_rows": 3, "max_new_tokens": 8, "batch_size": 2}
RUN = {"plan": {"steps": 6}, "save": {"every": 2}, "evaluation": {"every": 3}, "log": {"every": 1}}


@pytest.fixture(scope="module")
def runs(demo_dataset: Path, tiny: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same run with and without the hook; dropout is on."""
    out = tmp_path_factory.mktemp("hook")
    for name, asked in (("with", ASKED), ("without", None)):
        train(recipe(out / name, demo_dataset, tiny("llava"), generation=asked, **RUN))
    return {"with": out / "with", "without": out / "without"}


def test_the_training_does_not_notice(runs: dict[str, Path]) -> None:
    assert losses(runs["with"]) == losses(runs["without"])
    assert evaluations(runs["with"]) == evaluations(runs["without"])
    one, other = (load_file(runs[name] / "adapter" / "adapter_model.safetensors") for name in ("with", "without"))
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_checkpoint_is_asked_and_scored(runs: dict[str, Path], demo_dataset: Path) -> None:
    assert not list(read_log(runs["without"], "scores")) and not (runs["without"] / "predictions").exists()
    scores = list(read_log(runs["with"], "scores"))
    assert [line["step"] for line in scores] == [2, 4, 6]
    for line in scores:
        file = runs["with"] / "predictions" / f"step-{line['step']}" / "predictions.jsonl"
        report = evaluate(file, demo_dataset, metrics=["lexical"])
        assert line["parts"] == {
            f"[{part.group.task}] [{part.group.dataset}] val": {
                "n": part.n_given,
                "empty": sum(part.empty),
                "values": {name: result.value for name, result in part.results.items()},
            }
            for part in report.parts
        }
        per_task = [part.n_given for part in report.parts]
        assert max(per_task) <= 3 and len(per_task) == 3  # of a split that has fewer of one task
    texts = {
        tuple(json.loads(line)["prediction"] for line in file.read_text("utf-8").splitlines())
        for file in sorted(runs["with"].glob("predictions/*/predictions.jsonl"))
    }
    assert len(texts) > 1  # the model changes while it learns
    card = (runs["with"] / "README.md").read_text("utf-8")
    assert (
        "Generated answers, step 6:" in card and "Generated answers" not in (runs["without"] / "README.md").read_text()
    )
    (last,) = (line for line in scores if line["step"] == 6)
    for label, part in last["parts"].items():
        (row,) = (text for text in card.splitlines() if text.startswith(f"| {label} |"))
        assert f"| {part['n']} |" in row and f"{part['values']['bleu1']:.3f}" in row


@pytest.mark.slow
def test_two_processes_ask_the_same(
    runs: dict[str, Path], demo_dataset: Path, tiny: Callable[..., Path], tmp_path: Path
) -> None:
    still = {**RUN, "lora": {"dropout": 0}, "plan": {"steps": 2, "micro_batch": 4}}
    train(recipe(tmp_path / "one", demo_dataset, tiny("llava"), generation=ASKED, **still))
    file = write_recipe(
        tmp_path / "r.yaml", recipe(tmp_path / "two", demo_dataset, tiny("llava"), generation=ASKED, **still)
    )
    said = finish(launch(TWO, file))
    one, two = (tmp_path / name / "predictions" / "step-2" / "predictions.jsonl" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    assert said.count("step 2  [Findings Generation]") == 1  # only the first process speaks


def test_two_dataset_folders_are_scored_each_against_its_own(
    tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]
) -> None:
    other = copied(demo_dataset, tmp_path / "other")
    change(other, lambda found: [say(row, "assistant", "The lungs are clear.") for row in found])
    changes = {**RUN, "plan": {"steps": 2}, "evaluation": None}
    mixture = {"data": [demo_dataset, other], "use": [{"tasks": "Findings Generation"}]}
    train(recipe(tmp_path / "run", demo_dataset, tiny("llava"), generation=ASKED, mixture=mixture, **changes))
    files = sorted((tmp_path / "run" / "predictions" / "step-2").iterdir())
    assert [file.name for file in files] == ["predictions-1.jsonl", "predictions-2.jsonl"]
    said = {
        line["data"]: {json.loads(text)["reference"] for text in file.read_text("utf-8").splitlines()}
        for file, line in zip(files, read_log(tmp_path / "run", "scores"), strict=True)
    }
    assert said.keys() == {str(demo_dataset), str(other)}
    assert said[str(other)] == {"The lungs are clear."} and len(said[str(demo_dataset)]) > 1


def test_a_split_without_examples(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    asked = recipe(
        tmp_path / "run",
        demo_dataset,
        tiny("llava"),
        generation={**ASKED, "split": "validation"},
        evaluation=None,
        mixture={"splits": {"val": {"use": [{"datasets": "OpenI"}]}}},
    )
    with pytest.raises(DataError, match="nothing to draw in split validation"):
        train(asked)
