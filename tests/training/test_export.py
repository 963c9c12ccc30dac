"""What leaves a run: the adapter alone, or merged into its base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from instruct.mixture.index import build_index
from instruct.mixture.recipe import MixtureRecipe
from instruct.mixture.rows import open_rows
from instruct.training.collate import Collator
from instruct.training.export import export_adapter, find_adapter, merge
from instruct.training.processor import load_processor
from instruct.training.run import train
from tests.build.helpers import call
from tests.conftest import run_cli
from tests.training.runs import MIXED, recipe


def logits(model: Any, batch: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(**batch).logits


def batch_of(model: Path, data: Path) -> dict[str, Any]:
    index = build_index(MixtureRecipe(name="m", data=[data], use=MIXED))
    batch = Collator(load_processor(model))([open_rows(part)[1] for part in index.parts if part.draws])
    batch.pop("facts")
    batch.pop("labels")
    return batch


def test_merged_is_base_with_adapter(
    tiny_run: Path, tiny: Callable[..., Path], demo_dataset: Path, tmp_path: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText, AutoProcessor

    base = AutoModelForImageTextToText.from_pretrained(tiny("llava"))
    batch = batch_of(tiny("llava"), demo_dataset)
    plain = logits(base, batch)
    adapted = logits(PeftModel.from_pretrained(base, tiny_run / "adapter"), batch)
    assert float((adapted - plain).abs().max()) > 0.1  # it has learnt something
    run_cli("adapter", "merge", tiny_run, "--out", tmp_path / "merged")
    merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
    assert float((logits(merged, batch) - adapted).abs().max()) <= 1e-4
    for name in ("tokenizer.json", "tokenizer_config.json", "processor_config.json"):
        if (tiny("llava") / name).exists():
            assert (tmp_path / "merged" / name).read_bytes() == (tiny("llava") / name).read_bytes()
    assert AutoProcessor.from_pretrained(tmp_path / "merged").chat_template
    assert (tmp_path / "merged" / "README.md").read_bytes() == (tiny_run / "README.md").read_bytes()


def test_the_adapter_names_its_base_as_the_recipe_does(
    tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny("idefics3").parent)  # a relative folder, as a name on the Hub is
    made = recipe(
        tmp_path / "run",
        demo_dataset,
        Path("idefics3"),
        plan={"steps": 1},
        lora={"preset": "language+projector"},
        evaluation=None,
    )
    train(made)
    config = json.loads((tmp_path / "run" / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "idefics3"
    out = export_adapter(tmp_path / "run" / "checkpoint-1", tmp_path / "adapter")
    assert (out / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "run" / "adapter" / "adapter_model.safetensors"
    ).read_bytes()
    merge(tmp_path / "run", tmp_path / "merged")
    assert json.loads((tmp_path / "merged" / "config.json").read_text("utf-8"))["model_type"] == "idefics3"


def test_options_of_the_image_processor_are_those_of_the_recipe(tiny: Callable[..., Path], tmp_path: Path) -> None:
    from instruct.errors import SpecError
    from instruct.training.base import base_fingerprint, model_processor
    from instruct.training.lengths import Lengths
    from instruct.training.recipe import ModelChoice
    from tests.training.rows import png, question

    plain = ModelChoice(id=str(tiny("qwen2_vl")))
    large = ModelChoice(id=plain.id, image_processor={"size": {"shortest_edge": 56 * 56, "longest_edge": 224 * 224}})
    row = question("No.", png(400, 400))
    short, long = (Lengths(model_processor(choice))(row) for choice in (plain, large))
    assert long - short == 8 * 8 - 4 * 4  # image tokens of 28 x 28 pixels
    assert base_fingerprint(plain) != base_fingerprint(large)
    with pytest.raises(SpecError, match=r"model.image_processor: .* has no option max_pixel; it has .*size"):
        model_processor(ModelChoice(id=plain.id, image_processor={"max_pixel": 3}))


@pytest.mark.parametrize("kept_in", ["preprocessor_config.json", "processor_config.json"])
def test_a_merged_model_sees_images_as_it_was_trained(
    kept_in: str, tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]
) -> None:
    from instruct.training.base import model_processor
    from instruct.training.lengths import Lengths
    from instruct.training.recipe import ModelChoice
    from tests.training.rows import png, question

    base = tmp_path / "base"
    shutil.copytree(tiny("qwen2_vl"), base)
    # As the published model has it: its pixels would win over a size.
    file = base / "preprocessor_config.json"
    settings = json.loads(file.read_text("utf-8")) | {"min_pixels": 56 * 56, "max_pixels": 112 * 112}
    file.unlink()
    kind = settings.pop("processor_class", "Qwen2VLProcessor")
    held = settings if kept_in == file.name else {"image_processor": settings}
    (base / kept_in).write_text(json.dumps({**held, "processor_class": kind}), "utf-8")
    choice = ModelChoice(id=str(base), image_processor={"size": {"shortest_edge": 56 * 56, "longest_edge": 224 * 224}})
    made = recipe(tmp_path / "run", demo_dataset, base, plan={"steps": 1}, evaluation=None)
    train(made.model_copy(update={"model": choice}))
    row = question("No.", png(400, 400))
    trained = Lengths(model_processor(choice))(row)
    assert trained > Lengths(model_processor(ModelChoice(id=str(base))))(row)
    for place, run in enumerate(("run", "run/checkpoint-1")):
        out = merge(tmp_path / run, tmp_path / f"merged-{place}")
        assert Lengths(model_processor(ModelChoice(id=str(out))))(row) == trained


def test_a_file_in_the_way(tmp_path: Path, tiny_run: Path) -> None:
    (tmp_path / "file").write_text("x")
    for command in ("export", "merge"):
        for out in (tmp_path / "file", tmp_path / "file" / "below"):
            assert "no folder can be made there" in call("adapter", command, tiny_run, "--out", out, check=2).err
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    assert "no adapter here" in call("adapter", "merge", adapter, "--out", tmp_path / "merged", check=2).err


def test_nothing_to_export(tmp_path: Path, tiny_run: Path) -> None:
    assert find_adapter(tiny_run) == tiny_run / "adapter"
    assert "no adapter here" in run_cli("adapter", "export", tmp_path, "--out", tmp_path / "o", check=2).stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    assert "is not empty" in run_cli("adapter", "merge", tiny_run, "--out", tmp_path / "full", check=2).stderr
