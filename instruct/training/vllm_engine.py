"""Greedy answers through vLLM, for large models on GPUs; needs ``pip install vllm``.

The calls are those of vLLM's documentation (``LLM.generate`` with ``multi_modal_data``, ``LoRARequest``); the tests of
this package do not run them, for vLLM needs a GPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instruct.digest import digest_bytes
from instruct.errors import UsageError
from instruct.training.base import compute_dtype, model_processor
from instruct.training.images import ImageFault, open_images
from instruct.training.predictions import LENGTH, STOP, TOO_LONG, Answer
from instruct.training.recipe import ModelChoice
from instruct.training.supervision import RowFault, Supervision

# Ranks that vLLM has kernels for.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_MOST_IMAGES = 16


class VllmAnswerer:
    """Answers examples as :class:`instruct.training.answers.Answerer` does.

    Args:
        choice: the base model.
        adapter: folder of an adapter; vLLM serves those of the preset ``language``, and others only of some models
            (merge them: ``cxr-instruct adapter merge``).
        max_new_tokens: longest answer.

    Raises:
        UsageError: vLLM is not installed.
    """

    def __init__(self, choice: ModelChoice, adapter: Path | None, max_new_tokens: int) -> None:
        try:
            from vllm import LLM, SamplingParams
            from vllm.lora.request import LoRARequest
        except ImportError:
            raise UsageError("--engine vllm: vLLM is not installed; pip install vllm, or leave --engine away") from None
        self._supervision = Supervision(model_processor(choice))
        self._lora = LoRARequest("adapter", 1, str(adapter.resolve())) if adapter else None
        self._sampling = SamplingParams(temperature=0.0, max_tokens=max_new_tokens)
        rank = json.loads((adapter / "adapter_config.json").read_text("utf-8"))["r"] if adapter else 0
        self._llm = LLM(
            model=choice.id,
            revision=choice.revision,
            dtype=str(compute_dtype(choice)).removeprefix("torch."),
            seed=0,
            limit_mm_per_prompt={"image": _MOST_IMAGES},
            generation_config="vllm",  # not the model's own, which may sample or penalise repetition
            enable_lora=adapter is not None,
            **({"max_lora_rank": next(known for known in _RANKS if known >= rank)} if adapter else {}),
        )
        self._room = self._llm.llm_engine.model_config.max_model_len - max_new_tokens

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """One answer per row, in order. A row that cannot be asked gets an empty one that says why."""
        answers: dict[int, Answer] = {}
        requests: dict[int, dict[str, Any]] = {}
        digests: dict[int, str] = {}
        for place, row in enumerate(rows):
            try:
                prompt = self._supervision.prompt(row)
                digests[place] = digest_bytes(prompt)[:16]
                images = open_images(row)
            except (ImageFault, RowFault) as fault:
                answers[place] = Answer("", fault.reason, digests.get(place, ""), 0, 0)
                continue
            requests[place] = {"prompt": prompt, **({"multi_modal_data": {"image": images}} if images else {})}
        outputs = self._llm.generate(list(requests.values()), self._sampling, lora_request=self._lora, use_tqdm=False)
        for place, output in zip(requests, outputs, strict=True):
            (made,) = output.outputs
            tokens = len(output.prompt_token_ids)
            if tokens > self._room:
                answers[place] = Answer("", TOO_LONG, digests[place], tokens, 0)
            else:
                finish = STOP if made.finish_reason == "stop" else LENGTH
                new = len(made.token_ids) - (finish == STOP)
                answers[place] = Answer(made.text.strip(), finish, digests[place], tokens, new)
        return [answers[place] for place in range(len(rows))]
