"""Greedy answers through vLLM, for large models on GPUs; needs ``pip install vllm``.

The calls are those of vLLM 0.33 (``LLM.generate`` with ``multi_modal_data``, ``LoRARequest``). vLLM needs a GPU, so the
tests of this package put a model of ``transformers`` behind the same calls; with vLLM itself it was not run.
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
from instruct.training.lengths import Lengths
from instruct.training.predictions import LENGTH, STOP, TOO_LONG, Answer
from instruct.training.recipe import ModelChoice
from instruct.training.supervision import RowFault, adds_special_tokens

# Ranks that vLLM has kernels for.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_MOST_IMAGES = 16


class VllmAnswerer:
    """Answers examples as :class:`instruct.training.answers.Answerer` does, on all GPUs that this process sees.

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
        import torch

        self._processor = model_processor(choice)
        self._lengths = Lengths(self._processor)
        self._lora = LoRARequest("adapter", 1, str(adapter.resolve())) if adapter else None
        self._sampling = SamplingParams(temperature=0.0, max_tokens=max_new_tokens)
        rank = json.loads((adapter / "adapter_config.json").read_text("utf-8"))["r"] if adapter else 0
        self._llm = LLM(
            model=choice.id,
            revision=choice.revision,
            dtype=str(compute_dtype(choice)).removeprefix("torch."),
            seed=0,
            tensor_parallel_size=max(torch.cuda.device_count(), 1),
            limit_mm_per_prompt={"image": _MOST_IMAGES},
            mm_processor_kwargs=choice.image_processor or None,
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
        adds = True
        for place, row in enumerate(rows):
            try:
                prompt = self._lengths.supervision.prompt(row)
                digests[place] = digest_bytes(prompt)[:16]
                images = open_images(row)
                tokens = self._lengths.prompt(row)
            except (ImageFault, RowFault) as fault:
                answers[place] = Answer("", fault.reason, digests.get(place, ""), 0, 0)
                continue
            if tokens > self._room:  # told here: vLLM ends the whole call for one that does not fit
                answers[place] = Answer("", TOO_LONG, digests[place], tokens, 0)
                continue
            adds = adds_special_tokens(self._processor, prompt)  # the same for all prompts of a chat template
            requests[place] = {"prompt": prompt, **({"multi_modal_data": {"image": images}} if images else {})}
        outputs = (
            self._llm.generate(
                list(requests.values()),
                self._sampling,
                lora_request=self._lora,
                use_tqdm=False,
                tokenization_kwargs={"add_special_tokens": adds},
            )
            if requests
            else []
        )
        for place, output in zip(requests, outputs, strict=True):
            (made,) = output.outputs
            finish = STOP if made.finish_reason == "stop" else LENGTH
            new = len(made.token_ids) - (finish == STOP)
            answers[place] = Answer(made.text.strip(), finish, digests[place], len(output.prompt_token_ids), new)
        return [answers[place] for place in range(len(rows))]
