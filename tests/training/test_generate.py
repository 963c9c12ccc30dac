"""Generation: the same texts for any batch, any number of processes, any interruption; faults are said, not hidden."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instruct.errors import DataError, UsageError
from instruct.evaluation import read_predictions
from instruct.mixture.index import MixtureIndex, build_index
from instruct.mixture.recipe import MixtureRecipe
from instruct.training.answers import Answerer
from instruct.training.generate import Request, generate
from instruct.training.recipe import ModelChoice, Quant
from instruct.training.run import train
from tests.build.helpers import call, rows
from tests.conftest import REPOSITORY
from tests.training.rows import IMAGE, png, question, row
from tests.training.runs import TWO, recipe, write_recipe
from tests.training.spoil import change, copied, cut_file, say

Tiny = Callable[..., Path]
IMAGES = {"tasks": ["Findings Generation", "Progression Findings Generation", "Findings Summarization"]}


def index_of(dataset: Path, split: str = "validation", **use: Any) -> MixtureIndex:
    return build_index(MixtureRecipe.model_validate({"name": "g", "data": [dataset], "use": [use or IMAGES]}), split)


def request(model: Path, **changes: Any) -> Request:
    return Request(ModelChoice(id=str(model)), **{"max_new_tokens": 12, **changes})


def texts(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]


def made(request: Request, index: MixtureIndex, out: Path) -> bytes:
    done = generate(request, index, out)
    assert done is not None
    return done.file.read_bytes()


@pytest.mark.parametrize("family", ["llava", "qwen2_vl", "idefics3", "gemma3"])
def test_the_batch_changes_no_text(family: str, tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    index = index_of(demo_dataset)
    one = made(request(tiny(family), batch_size=1), index, tmp_path / "one")
    assert one == made(request(tiny(family), batch_size=8), index, tmp_path / "eight")
    lines = texts(tmp_path / "one" / "predictions.jsonl")
    # Gemma's random weights say control tokens alone, of which no text is left.
    assert family == "gemma3" or len({line["prediction"] for line in lines}) > 1
    assert all(line["prompt_tokens"] for line in lines)
    asked = [each for part in index.parts for each in rows(demo_dataset, part.config, "validation")]
    assert [(line["id"], line["task"]) for line in lines] == [(each["id"], each["task"]) for each in asked]
    # Without `--references` too, the predictions are read as they are.
    assert read_predictions(tmp_path / "one" / "predictions.jsonl").ids == tuple(line["id"] for line in lines)
    assert len(read_predictions(tmp_path / "one" / "predictions.jsonl", demo_dataset)) == len(lines)


def launched(how: list[str], *arguments: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, *how, "instruct.cli", "generate", *map(str, arguments)],
        cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_killed_and_gone_on_with_by_two_processes(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    arguments = [
        tiny("llava"),
        "--data",
        demo_dataset,
        "--split",
        "train",
        "--batch-size",
        "4",
        "--max-new-tokens",
        "24",
    ]
    out = tmp_path / "two"
    process = launched(["-m"], *arguments, "--out", out)
    part = out / ".parts" / "part-0.jsonl"
    until = time.monotonic() + 120
    while not (part.is_file() and part.read_bytes().count(b"\n") >= 3):
        assert process.poll() is None and time.monotonic() < until, process.communicate()[0]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "predictions.jsonl").exists()
    finished = part.read_bytes().count(b"\n")
    process = launched(TWO[:-1], *arguments, "--out", out)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said
    assert f"{4 * finished:,} were there" in said and said.count("The predictions are in") == 1
    record = json.loads((out / "generation.json").read_text("utf-8"))
    assert record["processes"] == 2 and record["examples"] > 4 * finished
    # Here, in one process and in one go: list for list the same.
    index = index_of(demo_dataset, "train", configs="*")
    done = made(request(tiny("llava"), batch_size=4, max_new_tokens=24), index, tmp_path / "one")
    assert done == (out / "predictions.jsonl").read_bytes()


def test_an_adapter_answers(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    plan = recipe(tmp_path / "run", demo_dataset, tiny("idefics3"), evaluation=None, plan={"steps": 6})
    plan = plan.model_copy(update={"optimizer": plan.optimizer.model_copy(update={"learning_rate": 0.03})})
    file = write_recipe(tmp_path / "r.yaml", plan)
    missing = call("generate", file, check=2).err
    assert "run/adapter: there is no adapter yet; train the recipe" in missing
    adapter = train(plan).adapter
    said = call("generate", file, "--split", "val", "--max-new-tokens", "8", "--max-rows", "2").out
    found = tmp_path / "run" / "predictions" / "val" / "predictions.jsonl"
    assert f"cxr-instruct evaluate {found} --references {demo_dataset}" in said
    index = index_of(demo_dataset)
    base = made(request(tiny("idefics3"), max_new_tokens=8, max_rows=2), index, tmp_path / "base")
    assert base != found.read_bytes()
    assert found.read_bytes() == made(
        request(tiny("idefics3"), max_new_tokens=8, max_rows=2, adapter=adapter), index, tmp_path / "with"
    )
    told = json.loads(call("evaluate", found, "--references", demo_dataset, "--metrics", "bleu2", "--json", "--out",
                           tmp_path / "scores").out)  # fmt: skip
    assert sum(part["n_given"] for part in told["parts"]) == len(texts(found))
    ask = ("generate", file, "--split", "val", "--max-new-tokens", "8", "--max-rows", "2", "--evaluate")
    again = call(*ask).out
    assert again.startswith("0 examples answered in 0.0 s")
    # Scored by the same code, to the same numbers.
    summary = json.loads((found.parent / "evaluation" / "summary.json").read_text("utf-8"))
    assert summary == json.loads(call(*ask, "--json").out)["summary"]
    bleu2 = [part["results"]["bleu2"] for part in summary["parts"] if "bleu2" in part["results"]]
    assert bleu2 == [part["results"]["bleu2"] for part in told["parts"] if "bleu2" in part["results"]] and bleu2
    assert "bleu2" in again or "BLEU-2" in again


def test_a_model_with_an_adapter_by_its_folder(tmp_path: Path, tiny_run: Path, demo_dataset: Path, tiny: Tiny) -> None:
    ask = ("--data", demo_dataset, "--split", "test", "--max-rows", "1", "--max-new-tokens", "8")
    call("generate", tiny("llava"), *ask, "--adapter", tiny_run / "adapter", "--out", tmp_path / "with")
    call("generate", tiny("llava"), *ask, "--out", tmp_path / "without")
    index = index_of(demo_dataset, "test", configs="*")
    adapted = request(tiny("llava"), max_new_tokens=8, max_rows=1, adapter=tiny_run / "adapter")
    found = (tmp_path / "with" / "predictions.jsonl").read_bytes()
    assert found == made(adapted, index, tmp_path / "here")
    assert found != (tmp_path / "without" / "predictions.jsonl").read_bytes()
    assert {line["split"] for line in texts(tmp_path / "with" / "predictions.jsonl")} == {"test"}
    # Of another family, of which the library would load what fits and answer without the rest.
    err = call("generate", tiny("idefics3"), *ask, "--adapter", tiny_run / "adapter", "--out", tmp_path / "x", check=4)
    assert f"adapter: does not fit {tiny('idefics3')}: " in err.err and f"trained for {tiny('llava')}" in err.err


def test_a_folder_keeps_to_one_way_of_asking(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    index = index_of(demo_dataset, tasks="Findings Generation")
    generate(request(tiny("llava"), max_rows=1), index, tmp_path / "out")
    with pytest.raises(UsageError, match=r"made otherwise \(max_new_tokens was 12, now 13\)"):
        generate(request(tiny("llava"), max_rows=1, max_new_tokens=13), index, tmp_path / "out")


def test_what_cannot_be_asked_has_an_empty_answer_that_says_why(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    spoilt = copied(demo_dataset, tmp_path / "spoilt", own_images=True)
    config = "findings_generation-rex_gradient"

    def spoil(found: list[dict[str, Any]]) -> None:
        cut_file(found[0]["images"][0]["path"])
        Path(found[1]["images"][0]["path"]).unlink()
        say(found[2], "user", "Describe <image> please.")
        say(found[3], "user", "lungs " * 5000)

    change(spoilt, spoil, config, "train")
    ask = request(tiny("llava"), batch_size=6, max_rows=None)
    index = index_of(spoilt, "train", configs=config)
    done = generate(ask, index, tmp_path / "out")
    assert done is not None
    lines = texts(done.file)
    assert [line["finish"] for line in lines[:4]] == [
        "undecodable_image", "missing_image", "special_token", "too_long"
    ]  # fmt: skip
    assert [line["prediction"] for line in lines[:4]] == [""] * 4
    assert all(line["finish"] in ("stop", "length") for line in lines[4:])
    assert done.finish["undecodable_image"] == 1 and sum(done.finish.values()) == len(lines)
    # The others are what they are without such neighbours.
    whole = generate(ask, index_of(demo_dataset, "train", configs=config), tmp_path / "whole")
    assert whole is not None
    assert [line["prediction"] for line in texts(whole.file)[4:]] == [line["prediction"] for line in lines[4:]]
    # Nothing is dropped: the suite scores them as empty.
    assert sum(not text for text in read_predictions(done.file, spoilt).predictions) >= 4


def test_a_batch_in_which_nothing_can_be_asked(tiny: Tiny, processor_of: Any, model_of: Any) -> None:
    answerer = Answerer(model_of("llava"), processor_of("llava"), 4)
    broken = question("Yes.", png()[:40])
    (answer,) = answerer([broken])
    assert (answer.prediction, answer.finish, answer.new_tokens) == ("", "undecodable_image", 0)
    # Text only, and several images, in one batch with it.
    mixed = [question(), broken, row(("user", [IMAGE, IMAGE]), ("assistant", "No."), images=[png(), png(50, 60)])]
    assert [answer.finish == "undecodable_image" for answer in answerer(mixed)] == [False, True, False]


def test_the_model_is_left_as_it_was(tiny: Tiny, processor_of: Any) -> None:
    import torch
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(tiny("llava")).train()
    model.model.vision_tower.eval()
    model.generation_config.repetition_penalty = 5.0  # as some models on the hub have it
    flags = [module.training for module in model.modules()]
    own, state = model.generation_config, torch.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    penalised = Answerer(model, processor_of("llava"), 8)([question("Yes.", png())])
    assert [module.training for module in model.modules()] == flags
    assert model.generation_config is own and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    plain = AutoModelForImageTextToText.from_pretrained(tiny("llava"))
    assert Answerer(plain, processor_of("llava"), 8)([question("Yes.", png())]) == penalised


@pytest.mark.parametrize(
    ("family", "end"), [("llava", "<|im_end|>"), ("idefics3", "<end_of_utterance>"), ("gemma3", "<end_of_turn>")]
)
def test_the_turns_end_ends_the_answer(family: str, end: str, tiny: Tiny, processor_of: Any) -> None:
    import torch
    from transformers import AutoModelForImageTextToText

    processor = processor_of(family)
    model = AutoModelForImageTextToText.from_pretrained(tiny(family))
    model.generation_config.eos_token_id = None  # only the chat template tells how a turn ends
    number = processor.tokenizer.convert_tokens_to_ids(end)
    forward, steps = model.forward, []

    @functools.wraps(forward)
    def speak(*args: Any, **inputs: Any) -> Any:
        out = forward(*args, **inputs)
        steps.append(1)
        word = processor.tokenizer("yes")["input_ids"][-1]
        out.logits = torch.zeros_like(out.logits)
        out.logits[..., number if len(steps) == 3 else word] = 9.0
        return out

    model.forward = speak
    (answer,) = Answerer(model, processor, 10)([question("Yes.", png())])
    assert answer.finish == "stop" and answer.new_tokens == 2 and end not in answer.prediction


def test_uses_that_cannot_be_meant(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    assert "--data is missing" in call("generate", tiny("llava"), check=2).err
    assert "is no recipe, so that plan.steps=1 overrides nothing" in call(
        "generate", tiny("llava"), "plan.steps=1", "--data", demo_dataset, check=2
    ).err  # fmt: skip
    err = call("generate", tmp_path / "nothing", "--data", demo_dataset, "--out", tmp_path / "o", check=4).err
    assert f"model {tmp_path / 'nothing'}: cannot be loaded" in err
    err = call("generate", tiny("llava"), "--data", demo_dataset, "--adapter", tmp_path, "--out", tmp_path / "o",
               check=4).err  # fmt: skip
    assert "is no adapter: there is no adapter_config.json" in err
    err = call("generate", tiny("llava"), "--data", tmp_path, check=2).err
    assert "is no build of cxr-instruct" in err
    with pytest.raises(DataError, match="nothing to draw in split validation"):
        index_of(demo_dataset, "validation", datasets="OpenI")


def test_vllm_does_not_quantise(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    with pytest.raises(UsageError, match="set quant=null"):
        generate(request(tiny("llava"), engine="vllm", quant=Quant()), index_of(demo_dataset), tmp_path / "out")


def test_vllm_says_that_it_is_missing(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    pytest.importorskip("accelerate")
    try:
        import vllm  # noqa: F401
    except ImportError:
        err = call("generate", tiny("llava"), "--data", demo_dataset, "--engine", "vllm", "--out", tmp_path / "o",
                   check=2).err  # fmt: skip
        assert "vLLM is not installed; pip install vllm" in err
    else:
        pytest.skip("vLLM is installed")


def test_examples_of_several_folders(tmp_path: Path, demo_dataset: Path, tiny: Tiny) -> None:
    """Found before an hour of answering, not when the scores are asked for."""
    other = copied(demo_dataset, tmp_path / "other")
    change(other, lambda found: [one.update(id=one["id"] + "x") for one in found])
    made = recipe(tmp_path / "run", demo_dataset, tiny("llava"))
    mixture = {"name": "two", "data": [str(demo_dataset), str(other)], "use": [{"tasks": "Findings Generation"}]}
    made = made.model_copy(update={"mixture": MixtureRecipe.model_validate(mixture)})
    file = write_recipe(tmp_path / "r.yaml", made)
    for tasks in ([], ["--task", "[Findings Generation] [*"]):
        err = call("generate", file, "--adapter", tmp_path, *tasks, check=2).err
        assert "the examples are of 2 dataset folders; choose one with --data, such as /" in err
    assert "is no adapter" in call("generate", file, "--adapter", tmp_path, "--data", other, check=4).err
