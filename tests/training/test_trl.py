"""TRL trains on a built folder as it is, with our loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from instruct.mixture.plan import RunPlan
from instruct.training.run import train
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
