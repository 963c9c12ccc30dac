"""Training speed: this package beside TRL's ``SFTTrainer``, on the same rows, model and adapter, in one run.

    python benchmarks/bench_training.py --out DIR [--model FOLDER --data OUT] [--steps 30] [--micro-batch 8] [--runs 3]

Without --model and --data: a tiny model on the demo's synthetic corpora, on a CPU. Each side is a process of its own
and the sides take turns. Reported are medians over the runs of the steps after the first: supervised and all
tokens per second, share of padding, peak memory, and on a GPU the MFU. Both sides train LoRA on the same layers, on the
rows of the same plan, in bfloat16 on a GPU and float32 on a CPU, with gradient checkpointing or without; ours in the
order of the plan and with logits at supervised positions only, TRL in its default random order with its own loss.

Also: what the loader alone delivers against what the model consumes, the padding of planned and of random order, and
the processor time of planning a million rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SIDES = ("ours", "trl")


def recipe_of(options: argparse.Namespace, out: Path) -> Any:
    from instruct.training.recipe import TrainingRecipe

    return TrainingRecipe.model_validate(
        {
            "name": "bench",
            "out": out,
            "mixture": {"name": "bench", "data": [options.data], "use": [{"configs": "*"}]},
            "model": {"id": str(options.model), "image_processor": json.loads(options.image_processor)},
            "lora": {"preset": options.preset, "dropout": 0},
            "gradient_checkpointing": options.checkpointing,
            "plan": {
                "max_length": options.max_length,
                "global_batch": options.micro_batch,
                "micro_batch": options.micro_batch,
                "steps": options.steps,
            },
            "optimizer": {"schedule": "constant", "warmup": 0},
            "evaluation": None,
            "save": {"every": 10**6},
            "log": {"every": 1},
            "loader": {"workers": options.workers},
        }
    )


def ours(options: argparse.Namespace, out: Path) -> dict[str, float]:
    """Our figures, from the run's own log."""
    from instruct.training.log import read_log
    from instruct.training.run import train

    train(recipe_of(options, out), say=lambda line: None)
    lines = list(read_log(out, "train"))[1:]
    seconds = [options.micro_batch / line["examples_per_s"] for line in lines]
    whole = sum(seconds)

    def total(name: str) -> float:
        return sum(line[name] * part for line, part in zip(lines, seconds, strict=True))

    tokens = total("tokens_per_s")
    padded = sum(
        line["tokens_per_s"] * part / (1 - line["padding_waste"]) for line, part in zip(lines, seconds, strict=True)
    )
    figures = {
        "supervised_tokens_per_s": total("supervised_tokens_per_s") / whole,
        "tokens_per_s": tokens / whole,
        "examples_per_s": len(lines) * options.micro_batch / whole,
        "padding": 1 - tokens / padded,
        "loader_wait": sum(line["loader_wait"] * part for line, part in zip(lines, seconds, strict=True)) / whole,
        "memory_bytes": max(line["memory_bytes"] for line in lines),
        "first_loss": next(iter(read_log(out, "train")))["loss"],
    }
    if "mfu" in lines[0]:
        figures["mfu"] = total("mfu") / whole
    return figures


def trl(options: argparse.Namespace, out: Path) -> dict[str, float]:
    """TRL's figures: the same rows in its own order."""
    import torch
    from datasets import concatenate_datasets, load_from_disk
    from peft import LoraConfig
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from instruct.training.base import load_base, model_processor
    from instruct.training.lora import adapter_targets
    from instruct.training.meter import peak_memory
    from instruct.training.prepare import prepare

    recipe = recipe_of(options, out)
    processor = model_processor(recipe.model)
    data = prepare(recipe, processor)
    pieces = [
        load_from_disk(str(part.folder / part.config))["train"].select(data.plan.row[data.plan.part == number])
        for number, part in enumerate(data.index.parts)
        if (data.plan.part == number).any()
    ]
    model = load_base(recipe.model)
    lora = recipe.lora
    counted = {"examples": 0, "supervised": 0, "tokens": 0, "padded": 0}
    clock: dict[str, float] = {}

    class Counting(SFTTrainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **more: Any) -> Any:
            if self.state.global_step:
                counted["examples"] += len(inputs["input_ids"])
                counted["supervised"] += int((inputs["labels"] != -100).sum())
                counted["tokens"] += int(inputs["attention_mask"].sum())
                counted["padded"] += inputs["input_ids"].numel()
            return super().compute_loss(model, inputs, *args, **more)

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            clock.setdefault("start", time.perf_counter())
            clock["end"] = time.perf_counter()

    trainer = Counting(
        model=model,
        args=SFTConfig(
            output_dir=str(out),
            max_steps=options.steps,
            per_device_train_batch_size=options.micro_batch,
            max_length=None,
            assistant_only_loss=True,
            bf16=torch.cuda.is_available(),
            gradient_checkpointing=options.checkpointing,
            dataloader_num_workers=options.workers,
            lr_scheduler_type="constant",
            learning_rate=recipe.optimizer.learning_rate,
            report_to="none",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
        ),
        train_dataset=concatenate_datasets(pieces),
        processing_class=processor,
        peft_config=LoraConfig(
            r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=adapter_targets(model, lora)
        ),
        callbacks=[Clock()],
    )
    trainer.train()
    seconds = clock["end"] - clock["start"]
    return {
        "supervised_tokens_per_s": counted["supervised"] / seconds,
        "tokens_per_s": counted["tokens"] / seconds,
        "examples_per_s": counted["examples"] / seconds,
        "padding": 1 - counted["tokens"] / counted["padded"],
        "memory_bytes": peak_memory(),
        "first_loss": trainer.state.log_history[0]["loss"],
    }


def loader(options: argparse.Namespace, out: Path) -> dict[str, float]:
    """What the loader delivers with nobody to consume it; and the padding of planned and random order."""
    import numpy as np
    import torch

    from instruct.mixture.plan import padding_waste
    from instruct.mixture.rows import open_rows
    from instruct.training.base import model_processor
    from instruct.training.collate import Collator
    from instruct.training.order import PlannedRows
    from instruct.training.prepare import prepare

    recipe = recipe_of(options, out)
    recipe = recipe.model_copy(update={"plan": recipe.plan.model_copy(update={"steps": None, "epochs": 1})})
    processor = model_processor(recipe.model)
    data = prepare(recipe, processor)
    rows = PlannedRows(data.plan, [open_rows(part) for part in data.index.parts])
    batches = torch.utils.data.DataLoader(
        rows,
        batch_size=options.micro_batch,
        collate_fn=Collator(processor, recipe.plan.max_length),
        num_workers=options.workers,
    )
    start, seen = None, 0
    for number, batch in enumerate(batches):
        if number == 0:
            start = time.perf_counter()
            continue
        seen += len(batch["facts"].ids)
        if number == options.steps:
            break
    assert start is not None
    shuffled = np.random.default_rng(0).permutation(data.plan.length)
    return {
        "loader_examples_per_s": seen / (time.perf_counter() - start),
        "padding_planned": data.plan.padding_waste(options.micro_batch),
        "padding_random": padding_waste(shuffled, options.micro_batch),
    }


def planning() -> dict[str, float]:
    """Processor seconds of planning a run over a million rows of 58 parts."""
    import numpy as np

    from instruct.mixture.index import MixtureIndex, Part
    from instruct.mixture.plan import plan_run

    sizes = [300_000] * 2 + [50_000] * 6 + [2_000] * 50
    parts = [
        Part(f"[T{number}] [D]", Path(), f"t{number}", "train", size, None, size, size / sum(sizes))
        for number, size in enumerate(sizes)
    ]
    generator = np.random.default_rng(0)
    lengths = [generator.integers(20, 400, size).astype(np.int32) for size in sizes]
    start = time.process_time()
    plan = plan_run(MixtureIndex(tuple(parts), "train", 0, "index"), lengths, global_batch=64)
    return {"rows": len(plan), "cpu_s": time.process_time() - start}


def tiny(folder: Path) -> tuple[Path, Path]:
    """The demo's dataset and a tiny model, made if they are not there."""
    from instruct.mixture.index import build_index
    from instruct.mixture.recipe import MixtureRecipe
    from instruct.mixture.rows import open_rows
    from instruct.testing.tiny import build_tiny

    data, model = folder / "demo" / "dataset", folder / "model"
    if not (data / "manifest.json").exists():
        command = [sys.executable, "-m", "instruct.cli", "demo", "--out", str(folder / "demo")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    if not (model / "config.json").exists():
        index = build_index(MixtureRecipe(name="all", data=[data], use=[{"configs": "*"}]))
        parts = [open_rows(part) for part in index.parts if part.size]
        turns = [turn for rows in parts for number in range(len(rows)) for turn in rows[number]["messages"]]
        build_tiny("llava", model, [part["text"] for turn in turns for part in turn["content"] if part["text"]])
    return data, model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--image-processor", default="{}", help="JSON, as model.image_processor of a recipe")
    parser.add_argument("--preset", default="language")
    parser.add_argument("--max-length", type=int, default=4096)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--side", choices=[*SIDES, "loader"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if options.model is None or options.data is None:
        data, model = tiny(options.out)
        options.data, options.model = options.data or data, options.model or str(model)
    if options.side:
        figures = {"ours": ours, "trl": trl, "loader": loader}[options.side](
            options, options.out / f"{options.side}-{os.getpid()}"
        )
        print("RESULT " + json.dumps(figures))
        return
    print("planning", json.dumps({name: round(value, 2) for name, value in planning().items()}))
    given = [f"--data={options.data}", f"--model={options.model}", *sys.argv[1:]]
    found: dict[str, list[dict[str, float]]] = {side: [] for side in (*SIDES, "loader")}
    for _ in range(options.runs):
        for side, figures_of in found.items():
            done = subprocess.run(
                [sys.executable, __file__, *given, f"--side={side}"], capture_output=True, text=True, check=False
            )
            line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
            if line is None:
                sys.exit(f"{side} failed:\n{done.stdout}\n{done.stderr}")
            figures_of.append(json.loads(line.removeprefix("RESULT ")))
    for side, runs in found.items():
        medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        print(side, json.dumps({name: round(value, 4) for name, value in medians.items()}))


if __name__ == "__main__":
    main()
