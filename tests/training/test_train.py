"""A run from recipe to adapter: what it leaves, what it logs, what it refuses before it starts."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from safetensors import safe_open

from instruct.errors import DataError, SpecError, UsageError
from instruct.mixture.index import build_index
from instruct.mixture.plan import RunPlan
from instruct.training.log import read_log
from instruct.training.recipe import TrainingRecipe, load_training_recipe
from instruct.training.run import train
from tests.conftest import REPOSITORY, run_cli
from tests.training.runs import apart, evaluations, losses, recipe

LABELS = {f"[{task}] [REX-Gradient]" for task in ("Findings Generation", "Findings Summarization")} | {
    "[Progression Findings Generation] [REX-Gradient]"
}


def test_the_loss_falls(tiny_run: Path) -> None:
    trace = losses(tiny_run)
    assert list(trace) == list(range(1, 9))
    assert trace[1] == pytest.approx(6.9, abs=0.3)  # of a random model: the logarithm of its vocabulary, and some
    assert trace[8] < trace[1] - 0.5
    held_out = evaluations(tiny_run)
    assert list(held_out) == [4, 8] and held_out[8] < held_out[4]


def test_a_log_line_says_what_the_run_gets_through(tiny_run: Path) -> None:
    lines = list(read_log(tiny_run, "train"))
    for line in lines:
        assert line["learning_rate"] == 3e-3 and line["grad_norm"] > 0
        assert line["examples_per_s"] > 0 and line["images_per_s"] > 0
        assert line["tokens_per_s"] > line["supervised_tokens_per_s"] > 0
        assert 0 <= line["padding_waste"] < 0.5 and 0 < line["loader_wait"] < 1
        assert 100 << 20 < line["memory_bytes"] < 16 << 30
        assert line["bad_images"] == line["masked_rows"] == 0
        assert "mfu" not in line  # on a CPU there is no peak to compare with
    plan = RunPlan.load(tiny_run)
    assert sum(line["padding_waste"] for line in lines) / len(lines) == pytest.approx(plan.padding_waste(4), abs=0.03)


def test_the_loader_delivers_twice_what_the_model_consumes(tiny_run: Path) -> None:
    # Without workers, the wait is the loader's work and all else the model's: a third of the time is the limit.
    waits = [line["loader_wait"] for line in read_log(tiny_run, "train")][1:]
    assert statistics.median(waits) <= 1 / 3, waits


def test_the_evaluation_is_per_row_of_the_count_table(tiny_run: Path) -> None:
    for line in read_log(tiny_run, "evaluation"):
        assert line["parts"].keys() == LABELS
        tokens = sum(part["supervised_tokens"] for part in line["parts"].values())
        mean = sum(part["loss"] * part["supervised_tokens"] for part in line["parts"].values()) / tokens
        assert line["loss"] == pytest.approx(mean, rel=1e-6) and line["supervised_tokens"] == tokens
        assert line["parts"]["[Findings Generation] [REX-Gradient]"]["rows"] == 3  # max_rows
        assert line["rows"] == sum(part["rows"] for part in line["parts"].values()) <= 9


def test_the_record_of_a_run(tiny_run: Path, tiny: Callable[..., Path]) -> None:
    record = json.loads((tiny_run / "run.json").read_text("utf-8"))
    assert record["facts"]["base"]["id"] == str(tiny("llava"))
    assert record["facts"]["plan"] == RunPlan.load(tiny_run).digest
    assert record["facts"]["precision"] == "no"  # on a CPU
    (session,) = record["sessions"]
    assert session["processes"] == 1 and session["device"] == "cpu" and session["libraries"]["peft"]
    assert session["processor"] == "LlavaProcessor, CLIPImageProcessorPil"
    again = TrainingRecipe.model_validate(yaml.safe_load((tiny_run / "recipe.yaml").read_text("utf-8")))
    assert again.model_dump(exclude={"mixture"}) == load_training_recipe(tiny_run / "recipe.yaml").model_dump(
        exclude={"mixture"}
    )
    with Image.open(tiny_run / "loss.png") as plot:
        assert plot.size == (840, 480) and len(set(plot.convert("L").tobytes())) > 10  # something is drawn


def test_the_card_names_data_recipe_and_scores(tiny_run: Path) -> None:
    card = (tiny_run / "README.md").read_text("utf-8")
    assert card == (tiny_run / "adapter" / "README.md").read_text("utf-8")
    head = yaml.safe_load(card.split("---")[1])
    assert head["library_name"] == "peft" and "base_model" not in head  # a folder is no name on the Hub
    for label in LABELS:
        assert f"| {label} |" in card
    assert "Not for clinical use" in card and "learning_rate: 0.003" in card
    assert "- rexgradient: gated; " in card and "Do not publish the adapter without a permission" in card
    assert "openi" not in card.split("## Recipe")[0]  # nothing was drawn from it
    assert f"| All | {evaluations(tiny_run)[8]:.4f} |" in card


def test_checkpoints_hold_the_adapter_only(tiny_run: Path, tiny: Callable[..., Path]) -> None:
    base = sum(file.stat().st_size for file in tiny("llava").glob("*.safetensors"))
    for folder in (tiny_run / "checkpoint-4", tiny_run / "checkpoint-8", tiny_run / "adapter"):
        with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
            assert all("lora_" in name for name in weights.keys())  # noqa: SIM118
        assert (folder / "adapter_model.safetensors").stat().st_size < base / 2
        assert not list(folder.glob("*tokenizer*")) and not list(folder.glob("*processor*"))
        config = json.loads((folder / "adapter_config.json").read_text("utf-8"))
        assert config["base_model_name_or_path"] == str(tiny("llava"))
    assert sorted(file.name for file in (tiny_run / "adapter").iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_no_part_of_the_dataset_or_the_model_is_written_to(tiny_run: Path, tiny: Callable[..., Path]) -> None:
    assert (tiny("llava") / "config.json").stat().st_mtime < (tiny_run / "run.json").stat().st_mtime
    assert not [
        file for file in tiny("llava").iterdir() if file.stat().st_mtime > (tiny_run / "run.json").stat().st_mtime
    ]


def test_the_recipe_of_a_run_stands_alone(
    tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mixture in a file beside the recipe, and another one in it."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "inner.yaml").write_text("{name: inner, use: [{tasks: Findings Generation}]}", "utf-8")
    outer = {"name": "outer", "data": [str(demo_dataset)], "use": [{"mixture": "inner.yaml", "repeats": 2}]}
    outer["splits"] = {"val": {"use": [{"mixture": "inner.yaml"}]}}
    (files / "mix.yaml").write_text(json.dumps(outer), "utf-8")
    made = recipe(tmp_path / "run", demo_dataset, tiny("llava"), plan={"steps": 1}, evaluation=None)
    (files / "r.yaml").write_text(json.dumps({**made.model_dump(mode="json"), "mixture": "mix.yaml"}), "utf-8")
    first = load_training_recipe(files / "r.yaml")
    result = train(first)
    monkeypatch.chdir(tmp_path)
    again = load_training_recipe(tmp_path / "run" / "recipe.yaml")
    for split in ("train", "val"):
        index = build_index(again.mixture_recipe(), split)
        assert index.digest == build_index(first.mixture_recipe(), split).digest
    assert train(again, "auto") == result
    # On the command line, a path is relative to the working directory.
    (tmp_path / "mix.yaml").write_text(f"{{name: other, data: [{demo_dataset}], use: [{{tasks: '*'}}]}}", "utf-8")
    assert load_training_recipe(files / "r.yaml", ["mixture=mix.yaml"]).mixture_recipe().name == "other"
    assert load_training_recipe(files / "r.yaml").mixture_recipe().name == "outer"


# --- presets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "language", "projector"), [("llava", 28, 2), ("qwen2_vl", 28, 2), ("idefics3", 28, 1)]
)
def test_presets_choose_layers(family: str, language: int, projector: int, model_of: Callable[..., Any]) -> None:
    from instruct.training.lora import adapter_targets
    from instruct.training.recipe import Lora

    model = model_of(family)
    chosen = {
        preset: adapter_targets(model, Lora(preset=preset))
        for preset in ("language", "language+projector", "all-linear")
    }
    assert len(chosen["language"]) == language
    assert not [name for name in chosen["language"] if "vis" in name]
    assert len(chosen["language+projector"]) == language + projector
    assert set(chosen["language"]) < set(chosen["language+projector"]) < set(chosen["all-linear"])
    assert not [name for name in chosen["all-linear"] if "lm_head" in name]


def test_a_model_without_linear_projector_says_so(model_of: Callable[..., Any]) -> None:
    from instruct.training.lora import adapter_targets
    from instruct.training.recipe import Lora

    with pytest.raises(SpecError, match="no linear layer between vision tower and language model"):
        adapter_targets(model_of("gemma3"), Lora(preset="language+projector"))
    with pytest.raises(SpecError, match=r"none of \['wq'\] is a linear layer of the model; it has .*'q_proj'"):
        adapter_targets(model_of("gemma3"), Lora(targets=["wq"]))
    assert len(adapter_targets(model_of("gemma3"), Lora(targets=["q_proj", "v_proj"]))) >= 8


# --- recipes -----------------------------------------------------------------------------------------------------


def test_what_a_recipe_may_not_say(tmp_path: Path, demo_dataset: Path) -> None:
    made = recipe(tmp_path, demo_dataset, tmp_path)
    file = tmp_path / "r.yaml"
    file.write_text(made.model_dump_json(indent=1), "utf-8")
    with pytest.raises(SpecError, match=r"r.yaml:\d+:\d+: plan: epochs and steps are both set"):
        load_training_recipe(file, ["plan.epochs=2"])
    with pytest.raises(SpecError, match=r"lora.rank: unknown key"):
        load_training_recipe(file, ["lora.rank=8"])
    with pytest.raises(SpecError, match=r"model.id: this key is required"):
        load_training_recipe(file, ["model={revision: main}"])
    with pytest.raises(SpecError, match=r"r.yaml:\d+:\d+: save: .* save.every \(4\) must be evaluation.every \(2\)"):
        load_training_recipe(file, ["evaluation.early_stop=2", "evaluation.every=2"])
    with pytest.raises(SpecError, match=r"r.yaml:1:1: .* save.every \(500\) must be evaluation.every \(4\)"):
        file.write_text(made.model_dump_json(exclude={"save"}), "utf-8")
        load_training_recipe(file, ["evaluation.early_stop=2"])
    with pytest.raises(SpecError, match=r"early_stop counts evaluations: set every too"):
        load_training_recipe(file, ["evaluation.early_stop=2", "evaluation.every=null"])
    assert load_training_recipe(file, ["plan.steps=null", "plan.epochs=2"]).plan.epochs == 2
    with pytest.raises(UsageError, match="no such recipe file"):
        load_training_recipe("lora_nothing")


def test_shipped_recipes_are_valid() -> None:
    from instruct.specs.recipe import shipped_recipes

    names = shipped_recipes("lora")
    assert {"lora_qwen2_5_vl", "lora_qwen3_vl", "lora_llava_1_5", "lora_smolvlm", "lora_medgemma", "lora_tiny"} <= set(
        names
    )
    for name in names:
        made = load_training_recipe(name)
        assert made.name == name and made.plan.global_batch % made.plan.micro_batch == 0
        assert made.mixture_recipe().use


def test_shipped_accelerate_files_are_read() -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    from instruct.resources import shipped

    files = sorted((shipped("recipes") / "accelerate").glob("*.yaml"))
    assert {file.stem for file in files} == {"cpu", "one_gpu", "ddp", "fsdp2", "zero2", "zero3", "two_nodes"}
    for file in files:
        config = load_config_from_file(str(file))  # refuses keys it does not know
        assert (config.num_machines == 2) == (file.stem == "two_nodes")


# --- before anything starts --------------------------------------------------------------------------------------


def test_a_global_batch_that_cannot_be_cut(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    with pytest.raises(SpecError, match="global_batch 8 is not a multiple of micro_batch 3 x 1 process"):
        train(recipe(tmp_path / "run", demo_dataset, tiny("llava"), plan={"micro_batch": 3}))


def test_a_model_that_is_not_there(tmp_path: Path, demo_dataset: Path) -> None:
    with pytest.raises(DataError, match="nobody/nothing"):
        train(recipe(tmp_path / "run", demo_dataset, Path("nobody/nothing")))


def test_nothing_to_train_on(tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"nothing is left to draw: of 228 rows, 228 are excluded \(too long 228\)"):
        train(recipe(tmp_path / "run", demo_dataset, tiny("llava"), plan={"max_length": 4}))


def test_long_rows_are_an_error_where_the_recipe_says_so(
    tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]
) -> None:
    with pytest.raises(DataError, match=r"rows are longer than plan.max_length 100 .*on_too_long=exclude"):
        train(recipe(tmp_path / "run", demo_dataset, tiny("llava"), plan={"max_length": 100, "on_too_long": "error"}))


def test_the_command_line(tmp_path: Path) -> None:
    assert "--resume auto|CHECKPOINT" in run_cli("train", "--help").stdout
    done = run_cli("train", "lora_tin", check=2)
    assert "no such recipe file. Did you mean 'lora_tiny'?" in done.stderr and "Traceback" not in done.stderr


def test_the_committed_schema_is_that_of_the_code() -> None:
    committed = (REPOSITORY / "docs" / "schemas" / "training.schema.json").read_text("utf-8")
    assert run_cli("schema", "training").stdout == committed, "run: make docs"


def test_a_logger_that_is_not_installed(tmp_path: Path) -> None:
    from importlib.util import find_spec

    from instruct.training.settings import training_arguments

    if find_spec("wandb"):
        pytest.skip("wandb is installed")
    with pytest.raises(UsageError, match=r"log.wandb needs the package wandb: pip install wandb"):
        training_arguments(recipe(tmp_path, tmp_path, tmp_path, log={"wandb": True}), steps=1)


def test_recomputed_activations_change_nothing(
    tiny_run: Path, tmp_path: Path, demo_dataset: Path, tiny: Callable[..., Path]
) -> None:
    train(recipe(tmp_path / "run", demo_dataset, tiny("llava"), gradient_checkpointing=True))
    assert apart(losses(tiny_run), losses(tmp_path / "run")) <= 1e-5


def test_recipes_are_read_without_torch() -> None:
    code = (
        "import sys; from instruct.training.recipe import load_training_recipe as load; load('lora_tiny');"
        "import instruct.cli.train, instruct.cli.adapter;"
        "print([name for name in ('torch', 'transformers', 'peft', 'datasets', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_process_takes_one_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With several in sight the library would spread a batch over them, and lose what is no tensor on the way."""
    from instruct.training.settings import training_arguments

    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    assert training_arguments(recipe(tmp_path, tmp_path, tmp_path), steps=1).n_gpu <= 1


@pytest.mark.parametrize(
    ("lora", "text_only", "looks"),
    [
        ({"preset": "language"}, True, False),
        ({"preset": "language+projector"}, False, False),
        ({"preset": "language+projector"}, True, True),
        ({"preset": "all-linear"}, False, True),
        ({"targets": ["q_proj"]}, False, True),
    ],
)
def test_where_parts_of_the_adapter_may_be_unused(lora: dict[str, Any], text_only: bool, looks: bool) -> None:
    from instruct.training.lora import may_be_unused
    from instruct.training.recipe import Lora

    assert may_be_unused(Lora.model_validate(lora), text_only) is looks


def test_the_recipe_says_the_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However `accelerate launch` was called."""
    from instruct.training.settings import training_arguments

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    assert training_arguments(recipe(tmp_path, tmp_path, tmp_path), steps=1).mixed_precision == "no"


def test_schedules_and_warmup(tmp_path: Path) -> None:
    from instruct.training.settings import training_arguments

    made = recipe(tmp_path, tmp_path, tmp_path, optimizer={"schedule": "cosine", "warmup": 0.25}, loader={"workers": 2})
    arguments = training_arguments(made, steps=8)
    assert arguments.warmup_steps == 2 and arguments.lr_scheduler_type == "cosine"
    assert arguments.gradient_accumulation_steps == 2 and arguments.max_steps == 8
    assert not arguments.logging_nan_inf_filter and not arguments.remove_unused_columns
    assert math.isclose(arguments.learning_rate, 3e-3)
