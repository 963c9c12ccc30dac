"""The vLLM engine asks as the other engine does. vLLM needs a GPU: its calls are answered by transformers here."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from instruct.training.answers import Answerer
from instruct.training.base import load_base, model_processor
from instruct.training.lora import load_adapter
from instruct.training.recipe import ModelChoice
from instruct.training.vllm_engine import VllmAnswerer
from tests.training.rows import IMAGE, png, question, row

TOKENS = 8


class LLM:
    """The part of ``vllm.LLM`` (0.33) that is called, with its signatures and its refusals."""

    def __init__(
        self,
        model: str,
        *,
        revision: str | None,
        dtype: str,
        seed: int,
        tensor_parallel_size: int,
        limit_mm_per_prompt: dict[str, int],
        mm_processor_kwargs: dict[str, Any] | None,
        generation_config: str,
        enable_lora: bool,
        max_lora_rank: int = 16,
    ) -> None:
        assert dtype == "float32" and tensor_parallel_size == 1 and generation_config == "vllm"
        assert max_lora_rank in (1, 8, 16, 32, 64, 128, 256, 320, 512)
        self.model, self.enable_lora = model, enable_lora
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=400))

    def generate(
        self,
        prompts: list[dict[str, Any]],
        sampling_params: Any,
        *,
        use_tqdm: bool,
        lora_request: Any,
        tokenization_kwargs: dict[str, Any],
    ) -> list[Any]:
        assert sampling_params.temperature == 0.0 and (lora_request is None or self.enable_lora)
        choice = ModelChoice(id=self.model)
        processor, model = model_processor(choice), load_base(choice)
        if lora_request is not None:
            model = load_adapter(model, Path(lora_request.lora_path)).get_base_model()
        outputs = []
        for prompt in prompts:
            images = prompt.get("multi_modal_data", {}).get("image")
            batch = processor(
                text=[prompt["prompt"]], images=[images] if images else None, return_tensors="pt", **tokenization_kwargs
            )
            ids = batch["input_ids"][0].tolist()
            if len(ids) >= 400:
                raise RuntimeError("The decoder prompt is longer than the maximum model length of 400.")
            ends = model.generation_config.eos_token_id
            with torch.no_grad():
                made = model.generate(**batch, max_new_tokens=sampling_params.max_tokens, do_sample=False)[
                    0, len(ids) :
                ]
            stopped = made[-1].item() in (ends if isinstance(ends, list) else [ends])
            text = processor.tokenizer.decode(made, skip_special_tokens=True)
            outputs.append(
                SimpleNamespace(
                    prompt_token_ids=ids,
                    outputs=[
                        SimpleNamespace(
                            text=text, token_ids=made.tolist(), finish_reason="stop" if stopped else "length"
                        )
                    ],
                )
            )
        return outputs


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules with the names of vLLM's."""
    try:
        import vllm  # noqa: F401
    except ImportError:
        pass
    else:
        pytest.skip("vLLM is installed")
    top, lora, request = ModuleType("vllm"), ModuleType("vllm.lora"), ModuleType("vllm.lora.request")
    top.LLM = LLM  # type: ignore[attr-defined]
    top.SamplingParams = SimpleNamespace  # type: ignore[attr-defined]
    request.LoRARequest = lambda name, number, path: SimpleNamespace(lora_path=path)  # type: ignore[attr-defined]
    for module in (top, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.mark.parametrize("family", ["llava", "idefics3", "gemma3"])
def test_it_answers_as_the_other_engine(family: str, vllm: None, tiny: Callable[..., Path]) -> None:
    rows = [
        question(),
        question("Yes.", png(), name="b"),
        row(("user", [IMAGE, IMAGE]), ("assistant", "No."), images=[png(), png(50, 60)], name="c"),
        question("Yes.", png()[:40], name="broken"),
        question(asked="What is <image>?" if family != "gemma3" else "What is <start_of_image>?", name="dirty"),
        question(asked="lungs " * 500, name="long"),
    ]
    choice = ModelChoice(id=str(tiny(family)))
    processor, model = model_processor(choice), load_base(choice)
    model.config.get_text_config().max_position_embeddings = 400  # as the other model is limited
    expected = Answerer(model, processor, TOKENS)(rows)
    found = VllmAnswerer(choice, None, TOKENS)(rows)
    assert found == expected
    assert [answer.finish for answer in found[3:]] == ["undecodable_image", "special_token", "too_long"]
    assert VllmAnswerer(choice, None, TOKENS)(rows[3:4]) == expected[3:4]


def test_an_adapter_is_handed_over(vllm: None, tiny: Callable[..., Path], tiny_run: Path) -> None:
    choice, rows = ModelChoice(id=str(tiny("llava"))), [question("Yes.", png()), question()]
    model = load_adapter(load_base(choice), tiny_run / "adapter")
    expected = Answerer(model, model_processor(choice), TOKENS)(rows)
    assert VllmAnswerer(choice, tiny_run / "adapter", TOKENS)(rows) == expected
    assert VllmAnswerer(choice, None, TOKENS)(rows) != expected
