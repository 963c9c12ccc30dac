"""Other trainers read a built folder as it is: TRL trains on it, LLaMA-Factory's and ms-swift's rules hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from instruct.mixture.plan import RunPlan
from instruct.training.run import train
from tests.build.helpers import rows
from tests.training.pictures import build_pictures
from tests.training.runs import losses, recipe


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset with 8-bit images; 16-bit ones, as REX-Gradient has them, TRL clips and we stretch."""
    return build_pictures(tmp_path_factory.mktemp("pictures"), train=24, test=2)


@pytest.mark.parametrize("family", ["llava", "idefics3"])
def test_trl_trains_on_a_folder_with_our_loss(
    family: str, tmp_path: Path, pictures: Path, tiny: Callable[..., Path]
) -> None:
    trl = pytest.importorskip("trl", reason="TRL is not installed: pip install 'cxr-instruct[dev]'")
    from datasets import load_from_disk
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model = tiny(family)
    made = recipe(
        tmp_path / "ours",
        pictures,
        model,
        mixture={"use": [{"configs": "*"}]},
        plan={"steps": 1, "global_batch": 4},
        evaluation=None,
    )
    train(made)
    plan = RunPlan.load(tmp_path / "ours")
    (config,) = pictures.glob("*/dataset_dict.json")
    dataset = load_from_disk(config.parent)["train"].select(plan.row.tolist())
    trainer = trl.SFTTrainer(
        model=AutoModelForImageTextToText.from_pretrained(model),
        args=trl.SFTConfig(
            output_dir=str(tmp_path / "trl"),
            max_steps=1,
            per_device_train_batch_size=4,
            max_length=None,  # its default cuts rows at 1024 tokens
            assistant_only_loss=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
        ),
        train_dataset=dataset,
        processing_class=AutoProcessor.from_pretrained(model),
    )
    trainer.train()
    assert trainer.state.log_history[0]["loss"] == pytest.approx(losses(tmp_path / "ours")[1], abs=1e-5)


def all_rows(dataset: Path) -> list[dict[str, Any]]:
    found = rows(dataset)
    assert len(found) > 300
    return found


def test_the_rules_of_llama_factory(demo_dataset: Path) -> None:
    """Its `sharegpt` format: https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md."""
    for row in all_rows(demo_dataset):
        turns = row["conversations"]
        if turns[0]["from"] == "system":
            turns = turns[1:]
        assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2) and turns
        assert all(isinstance(turn["value"], str) and turn["value"].strip() for turn in turns)
        assert sum(turn["value"].count("<image>") for turn in turns) == len(row["images"])
        assert all(image["path"] and image["bytes"] is None for image in row["images"])
    # A folder that it is pointed at may hold files of one ending only.
    for folder in demo_dataset.glob("*/*/arrow"):
        assert {file.suffix for file in folder.iterdir()} == {".arrow"}


def test_the_rules_of_ms_swift(demo_dataset: Path) -> None:
    """Its `messages` format: https://swift.readthedocs.io, "Custom Dataset"."""
    for row in all_rows(demo_dataset):
        roles = [turn["role"] for turn in row["messages"]]
        asked = roles[1:] if roles[0] == "system" else roles
        assert asked == ["user", "assistant"] * (len(asked) // 2) and asked
        parts = [part for turn in row["messages"] for part in turn["content"]]
        assert {part["type"] for part in parts} <= {"text", "image"}
        assert all(part.keys() == {"type", "text"} for part in parts)  # an `image` key, even empty, would be one more
        assert sum(part["type"] == "image" for part in parts) == len(row["images"])


def test_both_views_say_the_same(demo_dataset: Path) -> None:
    for row in all_rows(demo_dataset):
        told = {"user": "human", "assistant": "gpt", "system": "system"}
        for turn, plain in zip(row["messages"], row["conversations"], strict=True):
            assert told[turn["role"]] == plain["from"]
            text = "".join("<image>" if part["type"] == "image" else part["text"] for part in turn["content"])
            assert "".join(text.split()) == "".join(plain["value"].split())
