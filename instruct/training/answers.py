"""Greedy answers of a model of ``transformers`` to examples, batch by batch, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import torch
from transformers import GenerationConfig

from instruct.digest import digest_bytes
from instruct.training.collate import PromptCollator
from instruct.training.images import ImageFault
from instruct.training.predictions import LENGTH, STOP, TOO_LONG, Answer
from instruct.training.supervision import RowFault, Supervision

Row = Mapping[str, Any]


class Answerer:
    """Answers batches of examples greedily; the model is afterwards as it was before.

    Args:
        model: the model, with or without an adapter; not wrapped for several processes.
        processor: from :func:`instruct.training.processor.load_processor`.
        max_new_tokens: longest answer.
    """

    def __init__(self, model: Any, processor: Any, max_new_tokens: int) -> None:
        self.model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.processor = processor
        self._collate = PromptCollator(processor)
        self._supervision = Supervision(processor)
        self._room = _context(self.model) - max_new_tokens
        self._stops = _stop_tokens(self.model, processor, self._supervision)
        # Nothing of the model's own generation config gets in: some have sampling or a repetition penalty in it.
        self._config = GenerationConfig(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=self._stops,
            pad_token_id=processor.tokenizer.pad_token_id,
            bos_token_id=self.model.generation_config.bos_token_id,
        )

    def __call__(self, rows: Sequence[Row]) -> list[Answer]:
        """One answer per row, in order. A row that cannot be asked gets an empty one that says why."""
        refused: dict[int, Answer] = {}
        try:
            batch = self._collate(rows)
        except (ImageFault, RowFault):
            refused = {k: fault for k, row in enumerate(rows) if (fault := self._fault(row))}
            batch = self._without(refused, rows)
        if batch:
            kept = [k for k in range(len(rows)) if k not in refused]
            tokens = batch["attention_mask"].sum(1).tolist()
            long = {k: length for k, length in zip(kept, tokens, strict=True) if length > self._room}
            if long:
                refused |= {k: Answer("", TOO_LONG, self._digest(rows[k]), length, 0) for k, length in long.items()}
                batch = self._without(refused, rows)
        asked = [row for k, row in enumerate(rows) if k not in refused]
        answers = iter(self._generate(asked, batch))
        return [refused[k] if k in refused else next(answers) for k in range(len(rows))]

    def _without(self, refused: Mapping[int, Answer], rows: Sequence[Row]) -> dict[str, Any]:
        kept = [row for k, row in enumerate(rows) if k not in refused]
        return self._collate(kept) if kept else {}

    def _fault(self, row: Row) -> Answer | None:
        try:
            self._collate([row])
        except ImageFault as fault:
            return Answer("", fault.reason, self._digest(row), 0, 0)
        except RowFault as fault:
            return Answer("", fault.reason, "", 0, 0)
        return None

    def _digest(self, row: Row) -> str:
        return digest_bytes(self._supervision.prompt(row))[:16]

    def _generate(self, rows: Sequence[Row], batch: Mapping[str, Any]) -> list[Answer]:
        if not rows:
            return []
        inputs = {name: value.to(self.model.device) for name, value in batch.items() if name != "facts"}
        start = inputs["input_ids"].shape[1]
        with _asking(self.model, self._config):
            made = self.model.generate(**inputs)[:, start:].tolist()
        prompts = batch["attention_mask"].sum(1).tolist()
        return [self._answer(*each) for each in zip(rows, made, prompts, strict=True)]

    def _answer(self, row: Row, tokens: list[int], prompt_tokens: int) -> Answer:
        end = next((place for place, token in enumerate(tokens) if token in self._stops), None)
        text = self.processor.tokenizer.decode(tokens[:end], skip_special_tokens=True).strip()
        finish = LENGTH if end is None else STOP
        return Answer(text, finish, self._digest(row), prompt_tokens, len(tokens) if end is None else end)


def _stop_tokens(model: Any, processor: Any, supervision: Supervision) -> list[int]:
    """Tokens that end an answer: the model's, the tokenizer's, and the one that the chat template ends it with."""
    configured = model.generation_config.eos_token_id
    known = configured if isinstance(configured, list) else [configured]
    turns = [{"role": role, "content": [{"type": "text", "text": "a"}]} for role in ("user", "assistant")]
    with suppress(RowFault):  # a template that takes no such conversation
        rendered = supervision.render({"id": "", "messages": turns, "images": []})
        start, end = rendered.spans[-1]
        if rendered.closed:
            answer = rendered.text[start:end].rstrip()
            known = [*known, processor.tokenizer(answer, add_special_tokens=False)["input_ids"][-1]]
    return sorted({token for token in (*known, processor.tokenizer.eos_token_id) if token is not None})


def _context(model: Any) -> int:
    """Tokens that fit into the model, prompt and answer together."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return int(positions) if positions else 1 << 30


@contextmanager
def _asking(model: Any, config: GenerationConfig) -> Iterator[None]:
    """The model ready to answer: its own generation config set aside, every module in evaluation mode."""
    before = [(module, module.training) for module in model.modules()]
    own = model.generation_config
    try:
        model.eval()
        model.generation_config = config
        # Not inference_mode: tensors that modules keep for later (rotary tables) could not be trained with.
        with torch.no_grad():
            yield
    finally:
        model.generation_config = own
        for module, training in before:
            module.training = training
