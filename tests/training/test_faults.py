"""What goes wrong in a run ends in a stated policy, or in one message with the ids."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from instruct.errors import DataError, SpecError
from instruct.mixture.plan import RunPlan
from instruct.training.log import read_log, write_event
from instruct.training.run import train
from tests.build.helpers import rows
from tests.training.runs import evaluations, losses, recipe
from tests.training.spoil import change, copied, cut_file

FINDINGS, SUMMARIES = "[Findings Generation] [REX-Gradient]", "[Findings Summarization] [REX-Gradient]"


def test_a_loss_that_is_no_number_stops_with_the_ids(
    tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]
) -> None:
    made = recipe(tmp_path / "run", demo_dataset, tiny("llava"), optimizer={"learning_rate": 1e30}, save={"every": 2})
    with pytest.raises(
        DataError, match=r"step [23]: the loss is not finite; the batches held .*lower optimizer"
    ) as caught:
        train(made)
    (stop,) = read_log(tmp_path / "run", "stop")
    plan = RunPlan.load(tmp_path / "run")
    assert stop["reason"] == "loss is not finite" and stop["ids"]
    parts = {
        part: rows(demo_dataset, _config(demo_dataset, label), "train")
        for part, label in enumerate(plan.meta["labels"])
    }
    step = range((stop["step"] - 1) * 8, stop["step"] * 8)
    ids = {parts[plan.part[draw]][plan.row[draw]]["id"] for draw in step}
    assert set(stop["ids"]) <= ids
    assert all(row in str(caught.value) for row in stop["ids"])
    assert not (tmp_path / "run" / "adapter").exists()


def _config(dataset: Path, label: str) -> str:
    manifest = json.loads((dataset / "manifest.json").read_text("utf-8"))
    return next(task["config"] for task in manifest["tasks"] if task["name"] == label)


def test_a_tokenizer_without_padding(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    model = tiny("llava", pad_token=False)
    made = recipe(tmp_path / "run", demo_dataset, model, plan={"steps": 2}, evaluation=None)
    train(made)
    assert list(losses(tmp_path / "run")) == [1, 2]
    assert "No evaluation" not in (tmp_path / "run" / "README.md").read_text("utf-8")


def test_a_template_without_marks_gives_the_same_loss(
    tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]
) -> None:
    for name, marks in (("marked", True), ("unmarked", False)):
        model = tiny("qwen2_vl", generation_marks=marks)
        train(recipe(tmp_path / name, demo_dataset, model, plan={"steps": 2}, evaluation=None))
    assert losses(tmp_path / "marked") == losses(tmp_path / "unmarked")


def test_long_rows_are_left_out_and_counted(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    said: list[str] = []
    made = recipe(tmp_path / "run", demo_dataset, tiny("llava"), plan={"steps": 2, "max_length": 120}, evaluation=None)
    train(made, say=said.append)
    plan = RunPlan.load(tmp_path / "run")
    assert plan.excluded and {reason for _, _, reason in plan.excluded} == {"too long"}
    assert f"{len(plan.excluded)} rows left out: too long (plan.excluded.jsonl)" in said
    lines = [json.loads(line) for line in (tmp_path / "run" / "plan.excluded.jsonl").read_text("utf-8").splitlines()]
    of = {label: rows(demo_dataset, _config(demo_dataset, label), "train") for label in {one["label"] for one in lines}}
    assert len(lines) == len(plan.excluded)
    assert all(one["id"] == of[one["label"]][one["row"]]["id"] for one in lines)
    assert int(plan.length.max()) <= 120
    assert f"Left out: {len(plan.excluded)} too long." in (tmp_path / "run" / "README.md").read_text("utf-8")


@pytest.fixture
def truncated(tmp_path: Path, demo_dataset: Path) -> tuple[Path, str]:
    """The dataset, in which the picture of one row ends in the middle; and the id of the row."""
    dataset = tmp_path / "dataset"
    shutil.copytree(demo_dataset, dataset)
    config = _config(dataset, FINDINGS)
    row = rows(dataset, config, "train")[0]
    old = row["images"][0]["path"]
    broken = Path(old).with_name("b" + Path(old).name[1:])  # as long as the old name, so that it can take its place
    broken.write_bytes(Path(old).read_bytes()[:600])
    shards = sorted((dataset / config / "train" / "arrow").glob("*.arrow"))
    content = shards[0].read_bytes()
    assert content.count(old.encode()) == 1
    shards[0].write_bytes(content.replace(old.encode(), str(broken).encode()))
    return dataset, row["id"]


def test_a_log_is_json_whatever_the_numbers(tmp_path: Path) -> None:
    """JSON has no number for what is not finite; a program that reads the log would stop at it."""
    write_event(tmp_path, "evaluation", step=1, loss=float("nan"), parts={"a": {"loss": float("inf")}}, ids=["nan"])

    def refuse(name: str) -> None:
        raise AssertionError(name)

    line = json.loads((tmp_path / "log.jsonl").read_text("utf-8"), parse_constant=refuse)
    assert (line["loss"], line["parts"]["a"]["loss"]) == ("nan", "inf")
    (back,) = read_log(tmp_path, "evaluation")
    assert math.isnan(back["loss"]) and math.isinf(back["parts"]["a"]["loss"]) and back["ids"] == ["nan"]


def test_a_truncated_image(truncated: tuple[Path, str], tmp_path: Path, tiny: Callable[..., Path]) -> None:
    dataset, name = truncated
    # Every row of the part once.
    mixture = {"use": [{"configs": FINDINGS}]}
    changes = {"mixture": mixture, "plan": {"steps": 13, "micro_batch": 8}, "evaluation": None}
    with pytest.raises(DataError, match=rf"row {name}, image 1: .*truncated"):
        train(recipe(tmp_path / "error", dataset, tiny("llava"), **changes))
    with pytest.raises(DataError) as caught:
        train(recipe(tmp_path / "workers", dataset, tiny("llava"), loader={"workers": 2}, **changes))
    assert str(caught.value).startswith(f"row {name}, image 1: ") and "Traceback" not in str(caught.value)
    train(recipe(tmp_path / "mask", dataset, tiny("llava"), loader={"on_bad_image": "mask"}, **changes))
    lines = list(read_log(tmp_path / "mask", "train"))
    assert sum(line["bad_images"] for line in lines) == sum(line["masked_rows"] for line in lines) == 1


def test_a_broken_image_of_the_evaluation(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    dataset = copied(demo_dataset, tmp_path / "dataset", own_images=True)
    config = _config(dataset, FINDINGS)
    change(dataset, lambda found: [cut_file(row["images"][0]["path"]) for row in found], config, "validation")
    changes = {"mixture": {"use": [{"configs": FINDINGS}]}, "plan": {"steps": 1}, "loader": {"workers": 1}}
    with pytest.raises(DataError, match=r"^row .*, image 1: .*truncated") as caught:
        train(recipe(tmp_path / "run", dataset, tiny("llava"), **changes))
    assert "Traceback" not in str(caught.value)


def test_early_stop_keeps_the_best(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    made = recipe(
        tmp_path / "run",
        demo_dataset,
        tiny("llava"),
        plan={"steps": 20},
        optimizer={"learning_rate": 0.5},  # learns at first, then does harm
        evaluation={"every": 1, "early_stop": 1},
        save={"every": 1},
    )
    result = train(made)
    trace = evaluations(tmp_path / "run")
    best = min(trace, key=lambda step: trace[step])
    assert result.steps == best and list(losses(tmp_path / "run"))[-1] == best + 1 < 20
    assert result.evaluation is not None and result.evaluation["loss"] == pytest.approx(trace[best], rel=1e-6)
    kept = (tmp_path / "run" / f"checkpoint-{best}" / "adapter_model.safetensors").read_bytes()
    assert kept == (result.adapter / "adapter_model.safetensors").read_bytes()
    scores = (tmp_path / "run" / "README.md").read_text("utf-8").split("## Scores")[1]
    assert f"examples, step {best}:" in scores and f"| All | {trace[best]:.4f} |" in scores
    # The same command again has nothing to do, though the plan has steps left.
    log = (tmp_path / "run" / "log.jsonl").read_bytes()
    assert train(made, "auto") == result
    assert (tmp_path / "run" / "log.jsonl").read_bytes() == log
    # Who names a checkpoint does go on.
    train(made, str(tmp_path / "run" / f"checkpoint-{best}"))
    assert (tmp_path / "run" / "log.jsonl").read_bytes() != log


def test_validation_rows_that_are_all_too_long(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    mixture = {"use": [{"configs": FINDINGS}], "splits": {"val": {"use": [{"tasks": "Progression Findings*"}]}}}
    made = recipe(tmp_path / "run", demo_dataset, tiny("llava"), mixture=mixture, plan={"max_length": 110})
    with pytest.raises(DataError, match=r"evaluation: of \d+ rows of split validation none is usable, \d+ are longer"):
        train(made)


def test_rows_of_both_kinds_under_zero_3(
    tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `accelerate launch` tells of DeepSpeed's stage; the processes would wait for each other for ever."""
    from instruct.training.base import model_processor
    from instruct.training.prepare import prepare
    from instruct.training.settings import check_kinds

    def planned(**changes: object) -> None:
        made = recipe(tmp_path / "run", demo_dataset, tiny("llava"), evaluation=None, **changes)
        data = prepare(made, model_processor(made.model))
        check_kinds(made, data.plan, data.measures.images)

    planned()
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    planned()
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    with pytest.raises(SpecError, match=r"rows with and without images.*set plan.text_only_apart=true"):
        planned()
    planned(plan={"text_only_apart": True})
    planned(mixture={"use": [{"configs": FINDINGS}]})


def test_an_empty_validation_split(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    mixture = {"name": "m", "data": [demo_dataset], "use": [{"configs": SUMMARIES}]}
    mixture["splits"] = {"val": {"use": [{"configs": SUMMARIES, "weight": 0}]}}
    with pytest.raises(DataError, match=r"evaluation: .*nothing to draw in split validation.*set evaluation to null"):
        train(recipe(tmp_path / "run", demo_dataset, tiny("llava"), mixture=mixture))
