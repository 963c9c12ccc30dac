"""Runs of a tiny model for the tests of training: recipes, launches, and what is read from their folders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from instruct.training.log import read_log
from instruct.training.recipe import TrainingRecipe
from tests.conftest import REPOSITORY

# Rows with one image, two, and none.
MIXED = [{"tasks": ["Findings Generation", "Findings Summarization", "Progression Findings Generation"]}]
# Two processes with gloo; `accelerate launch --cpu --num_processes 2` would start one.
TWO = [
    "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1",
    "--mixed_precision", "no", "--dynamo_backend", "no", "--num_cpu_threads_per_process", "1",
    "--main_process_port", "0", "-m", "instruct.training",
]  # fmt: skip
ONE = ["-m", "instruct.training"]


def recipe(out: Path, data: Path, model: Path, **changes: Any) -> TrainingRecipe:
    """A short run; ``changes`` replace whole keys, or update those that are mappings."""
    base: dict[str, Any] = {
        "name": "test",
        "out": out,
        "mixture": {"name": "test", "data": [data], "use": MIXED},
        "model": {"id": str(model)},
        "lora": {"preset": "all-linear"},
        "plan": {"global_batch": 8, "micro_batch": 4, "steps": 8, "max_length": 512},
        "optimizer": {"learning_rate": 3e-3, "schedule": "constant", "warmup": 0},
        "evaluation": {"every": 4, "max_rows": 3},
        "save": {"every": 4},
        "log": {"every": 1},
    }
    for key, value in changes.items():
        base[key] = {**base[key], **value} if isinstance(value, dict) and isinstance(base.get(key), dict) else value
    return TrainingRecipe.model_validate(base)


def write_recipe(path: Path, made: TrainingRecipe) -> Path:
    """The recipe as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(made.model_dump_json(), "utf-8")  # JSON is YAML
    return path


def launch(how: list[str], file: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start a run in processes of its own."""
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, *how, str(file), *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(process: subprocess.Popen[str], check: int | None = 0) -> str:
    """Wait for a run; its output. A run that hangs is killed with all it started."""
    try:
        output, _ = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        process.kill()
        output, _ = process.communicate()
        raise AssertionError(f"the run hangs:\n{output}") from None
    assert check is None or process.returncode == check, output
    return output


def losses(out: Path) -> dict[int, float]:
    """Training loss by step."""
    return {line["step"]: line["loss"] for line in read_log(out, "train")}


def evaluations(out: Path) -> dict[int, float]:
    """Evaluation loss by step."""
    return {line["step"]: line["loss"] for line in read_log(out, "evaluation")}


def apart(one: dict[int, float], other: dict[int, float]) -> float:
    """The largest difference of two traces over the same steps."""
    assert one.keys() == other.keys() and one
    return max(abs(one[step] - other[step]) for step in one)
