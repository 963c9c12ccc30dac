"""Predictions for a built split: sharded over the processes of ``accelerate``, batched, greedy, resumable."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, TypeVar

from instruct.build.files import locked
from instruct.digest import digest_file, digest_json
from instruct.errors import DataError, UsageError
from instruct.mixture.index import MixtureIndex
from instruct.mixture.recipe import split_key
from instruct.training.asked import AskedRows
from instruct.training.base import base_fingerprint, compute_dtype, load_base, model_processor
from instruct.training.predictions import PREDICTIONS, Line, PredictionFolder
from instruct.training.recipe import ModelChoice, Quant

Ask = Callable[[Sequence[Mapping[str, Any]]], Sequence[Any]]
Listener = Callable[[int, int], None]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Request:
    """What to generate with.

    Attributes:
        model: the base model.
        adapter: folder of a LoRA adapter for it.
        quant: quantise the base while loading, as it was trained.
        max_new_tokens: longest answer.
        batch_size: examples that one process answers together; it finishes a batch or does it again.
        max_rows: examples per "[Task] [Dataset]", evenly spaced; None for all.
        engine: what generates.
    """

    model: ModelChoice
    adapter: Path | None = None
    quant: Quant | None = None
    max_new_tokens: int = 512
    batch_size: int = 8
    max_rows: int | None = None
    engine: Literal["transformers", "vllm"] = "transformers"

    def facts(self, index: MixtureIndex) -> dict[str, Any]:
        """Plain data that decides the texts, by which a folder of predictions knows its own."""
        return {
            "model": base_fingerprint(self.model),
            "adapter": adapter_digest(self.adapter) if self.adapter else None,
            "quant": self.quant.model_dump() if self.quant else None,
            "dtype": str(compute_dtype(self.model)).removeprefix("torch."),
            "attention": self.model.attention,
            "data": digest_json([[part.label, part.digest, part.candidates.tolist()] for part in index.parts]),
            "split": split_key(index.split),
            "max_new_tokens": self.max_new_tokens,
            "batch_size": self.batch_size,
            "max_rows": self.max_rows,
            "engine": self.engine,
        }


@dataclass(frozen=True)
class Outcome:
    """What generating gave.

    Attributes:
        file: the predictions.
        finish: examples by finish reason; empty where they were all there before.
        made: examples answered now.
        found: examples answered by earlier runs.
        seconds: time of answering, without loading the model.
    """

    file: Path
    finish: Mapping[str, int]
    made: int
    found: int
    seconds: float


def generate(request: Request, index: MixtureIndex, out: Path, listener: Listener | None = None) -> Outcome | None:
    """Answer the examples of a split and write the predictions.

    Every process of an ``accelerate launch`` calls this: process ``r`` of ``n`` takes the batches ``r, r + n, …``, the
    first writes the predictions. No text depends on the number of processes.

    Args:
        request: the model, and how it is asked.
        index: the mixture in one split; each candidate row is asked once, whatever its draws.
        out: folder of the predictions; unfinished ones of the same request are gone on with.
        listener: told how many of this process's examples are answered, and how many it has.

    Returns:
        The outcome in the first process, None in the others.

    Raises:
        UsageError: the folder holds other predictions, or another process writes into it; an engine is missing.
        DataError: the model, the adapter or a shard cannot be read, or there is no example.
    """
    from accelerate import PartialState
    from accelerate.utils import gather_object, parse_flag_from_env

    state = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
    if request.engine == "vllm" and state.num_processes > 1:
        raise UsageError("--engine vllm uses several GPUs from one process; start it without accelerate")
    if request.engine == "vllm" and request.quant:
        raise UsageError("--engine vllm answers with the base as it is stored: set quant=null, or leave --engine away")
    rows = AskedRows(index, request.max_rows)
    if not len(rows):
        raise DataError(f"split {rows.split}: there is no example of {', '.join(part.label for part in index.parts)}")
    folder = PredictionFolder(out, request.facts(index))
    if _from_first(state, folder.finished):
        return Outcome(out / PREDICTIONS, {}, 0, len(rows), 0.0) if state.is_main_process else None
    with locked(folder.lock, "generation") if state.is_main_process else nullcontext():
        done = _from_first(state, folder.claim)
        batches = rows.batches(request.batch_size)
        mine = [number for number in range(len(batches)) if number not in done]
        mine = mine[state.process_index :: state.num_processes]
        ask, made_with = _engine(request, state.device)
        began = time.perf_counter()
        made: list[tuple[int, list[Line]]] = []
        answered, total = 0, sum(len(batches[number]) for number in mine)
        for number in mine:
            answers = ask([rows[position] for position in batches[number]])
            lines = [rows.line(position, answer) for position, answer in zip(batches[number], answers, strict=True)]
            folder.append(state.process_index, number, lines)
            made.append((number, lines))
            answered += len(lines)
            if listener:
                listener(answered, total)
        everyone = gather_object(made)
        seconds = time.perf_counter() - began
        if not state.is_main_process:
            return None
        ordered = rows.in_order(batches, {**done, **dict(everyone)})
        new = [line for _, lines in everyone for line in lines]
        file = folder.finish(ordered, {**made_with, "processes": state.num_processes, **_speed(new, seconds)})
    return Outcome(file, Counter(line["finish"] for line in ordered), len(new), len(ordered) - len(new), seconds)


def adapter_digest(adapter: Path) -> str:
    """Digest of an adapter's weights and configuration.

    Raises:
        DataError: the folder holds no adapter.
    """
    files = [adapter / "adapter_config.json", adapter / "adapter_model.safetensors"]
    for file in files:
        if not file.is_file():
            raise DataError(
                f"{adapter}: is no adapter: there is no {file.name}; expected the folder `adapter` of a training run, "
                "or one of its checkpoints"
            )
    return digest_json([digest_file(file) for file in files])


def _from_first(state: Any, call: Callable[[], _T]) -> _T:
    """What a call gives in the first process, in every process."""
    from accelerate.utils import broadcast_object_list

    held: list[Any] = [call() if state.is_main_process else None]
    broadcast_object_list(held)
    value: _T = held[0]
    return value


def _engine(request: Request, device: Any) -> tuple[Ask, dict[str, Any]]:
    """What answers rows, and what there is to say of it."""
    if request.engine == "vllm":
        from instruct.training.vllm_engine import VllmAnswerer

        return VllmAnswerer(request.model, request.adapter, request.max_new_tokens), _versions("vllm", "transformers")
    from instruct.training.answers import Answerer
    from instruct.training.lora import load_adapter
    from instruct.training.processor import align_pad_token, processor_backend

    processor = model_processor(request.model)
    model = load_base(request.model, request.quant, device)
    align_pad_token(model, processor)
    if request.adapter:
        model = load_adapter(model, request.adapter)
    if not request.quant:
        model.to(device)
    made_with = {"processor": processor_backend(processor), "device": str(device)}
    return Answerer(model, processor, request.max_new_tokens), made_with | _versions("torch", "transformers", "peft")


def _versions(*packages: str) -> dict[str, Any]:
    found = {}
    for package in ("cxr-instruct", *packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"versions": found}


def _speed(lines: Sequence[Line], seconds: float) -> dict[str, float]:
    return {
        "seconds": round(seconds, 3),
        "examples_per_s": round(len(lines) / max(seconds, 1e-3), 3),
        "new_tokens_per_s": round(sum(line["new_tokens"] for line in lines) / max(seconds, 1e-3), 1),
    }
